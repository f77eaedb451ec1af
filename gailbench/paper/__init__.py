"""Data of the paper: Ho & Ermon (2016), *Generative Adversarial Imitation Learning*.

`tasks.csv`: all numbers of the nine tasks (Tables 1 to 3 and Appendix B, and the settings of the authors' runs). The
columns are fields of `gailbench.tasks.Task`. `gailbench.tasks` reads the file.
`tables.py`: Tables 1 and 3 and the authors' training runs, from the CSV files in this folder.
`claims.py`: the paper's claims about Table 3, as rules.

Importing this package reads no file.
"""

from __future__ import annotations

# The algorithms in the paper's table, in its order, and the one that the paper proposes.
ALGORITHMS = ("bc", "fem", "gtal", "gail")
PROPOSED = "gail"
# The tasks in the panels of Figure 1: (a) score by demonstration size, (b) by the weight of the policy's entropy.
FIGURE_1A = ("cartpole", "acrobot", "mountaincar", "halfcheetah", "hopper", "walker", "ant", "humanoid")
FIGURE_1B = ("reacher",)
