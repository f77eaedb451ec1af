"""What is the paper's: Ho & Ermon (2016), *Generative Adversarial Imitation Learning*.

`tasks.csv`: the nine tasks, every number of each (Tables 1 to 3 and Appendix B, and the settings of the authors' runs);
the columns are the fields of `gailbench.tasks.Task`, which reads it.
`tables.py`: Tables 1 and 3 and the authors' training runs, from the CSV files here.
`claims.py`: what the paper claims from Table 3, as rules.

Importing this package reads nothing.
"""

from __future__ import annotations

# The columns of the paper's table, in its order, and the one that the paper proposes.
ALGORITHMS = ("bc", "fem", "gtal", "gail")
PROPOSED = "gail"
# The tasks in the panels of Figure 1: (a) score by demonstration size, (b) by the weight of the policy's entropy.
FIGURE_1A = ("cartpole", "acrobot", "mountaincar", "halfcheetah", "hopper", "walker", "ant", "humanoid")
FIGURE_1B = ("reacher",)
