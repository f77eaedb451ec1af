#!/usr/bin/env bash
# The paper's grid as an array job: every task of the array takes a shard of the runs into one shared results folder.
#
#     sbatch examples/slurm/array.sh                      # from a folder that all nodes see; results/ is made in it
#     sbatch examples/slurm/array.sh                      # again, once it has ended: continues what was not finished
#     bash examples/slurm/array.sh --dry-run              # here and now: lists the runs of all shards, writes nothing
#
# Options that are given to this script go to gailbench: sbatch examples/slurm/array.sh --seeds 0-6

#SBATCH --job-name=gailbench
# How many shards. Submit all of them together: with --array=3 alone Slurm would count one task, not eight.
#SBATCH --array=1-8
# A run is one thread, and gailbench starts as many runs side by side as it was given cores.
#SBATCH --ntasks=1
#SBATCH --cpus-per-task=4
#SBATCH --mem-per-cpu=2G
#SBATCH --time=04:00:00
# Two minutes before the end gailbench gets SIGUSR1, saves its checkpoints and stops; so it does at --time-limit below.
# B: is for this script alone, whose place gailbench takes; without it Slurm would signal steps of srun only.
#SBATCH --signal=B:USR1@120
#SBATCH --output=gailbench-%A-%a.txt

set -euo pipefail

# Outside of an array there is one shard.
shard="${SLURM_ARRAY_TASK_ID:-1}/${SLURM_ARRAY_TASK_COUNT:-1}"

# exec: gailbench takes this script's place, and with it the signals. The time limit is a little less than --time, so
# that it is gailbench that ends first. Exit code 130 then means: everything is saved, submit again.
exec gailbench run --task cartpole,acrobot,mountaincar,reacher,hopper --results results \
    --shard "$shard" --time-limit "3h50m" "$@"
