"""The algorithms: behavioral cloning, and the rewards of feature expectation matching, game-theoretic apprenticeship
learning and generative adversarial imitation learning, which share the loop in `loop.py`; a constant reward is our
control."""

from __future__ import annotations

from typing import Any

from gailbench.algorithms.constant import Constant
from gailbench.algorithms.fem import Fem
from gailbench.algorithms.gail import Gail
from gailbench.algorithms.gtal import Gtal
from gailbench.tasks import CONSTANT

# Each is made from (expert's pairs, reward sign, random generator).
REWARDS: dict[str, Any] = {"fem": Fem, "gtal": Gtal, "gail": Gail, CONSTANT: Constant}
