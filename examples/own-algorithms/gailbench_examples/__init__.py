"""Two algorithms for gailbench: AIRL, a reward in its loop, and DAgger, a learner of its own.

The entry points in pyproject.toml lead here. gailbench imports this module whenever it lists algorithms, so PyTorch is
left to the modules that `maker` and `settings` name, which are imported when a run needs them.
"""

from __future__ import annotations

from gailbench.algorithms import Algorithm

AIRL = Algorithm(
    "airl",
    "AIRL",
    "gailbench_examples.airl:make",
    "gailbench_examples.airl:AirlSettings",
    diagnostics=("discriminator_loss", "expert_accuracy", "policy_accuracy"),
)
DAGGER = Algorithm(
    "dagger",
    "DAgger",
    "gailbench_examples.dagger:Dagger",
    "gailbench_examples.dagger:DaggerSettings",
    diagnostics=("pairs", "training_loss"),
)
