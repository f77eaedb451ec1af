#!/usr/bin/env bash
# The paper's grid as an array job: every task of the array does one shard of the runs. All write to one results folder.
#
#     sbatch examples/slurm/array.sh                      # from a folder that all nodes share; results/ is written there
#     sbatch examples/slurm/array.sh                      # again, after the job has ended: continues unfinished runs
#     bash examples/slurm/array.sh --dry-run              # without Slurm: lists the runs of all shards, writes nothing
#
# Options of this script are passed to gailbench: sbatch examples/slurm/array.sh --seeds 0-6

#SBATCH --job-name=gailbench
# The number of shards. Submit all of them together: with --array=3 Slurm would count one task, not eight.
#SBATCH --array=1-8
# A run uses one thread. gailbench does as many runs in parallel as the job has cores.
#SBATCH --ntasks=1
#SBATCH --cpus-per-task=4
#SBATCH --mem-per-cpu=2G
#SBATCH --time=04:00:00
# Two minutes before the end gailbench gets SIGUSR1, saves its checkpoints and stops. It does the same at --time-limit.
# "B:" sends the signal to this script's process, which gailbench replaces. Without "B:" only steps of srun get it.
#SBATCH --signal=B:USR1@120
#SBATCH --output=gailbench-%A-%a.txt

set -euo pipefail

# Outside an array job there is one shard.
shard="${SLURM_ARRAY_TASK_ID:-1}/${SLURM_ARRAY_TASK_COUNT:-1}"

# exec replaces this script's process by gailbench, so that gailbench gets the signals. The time limit is a little less
# than --time, so that gailbench stops before Slurm ends the job. Exit code 130 means: everything is saved, submit again.
exec gailbench run --task cartpole,acrobot,mountaincar,reacher,hopper --results results \
    --shard "$shard" --time-limit "3h50m" "$@"
