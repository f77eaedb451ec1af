"""Write wide.npz: half-cheetah's demonstrations of record with the body's pitch spread three times as wide.

FEM and GTAL use nothing of the demonstrations but the mean and the spread of each feature. So for them this file is
an expert that moves its body more. Run it in this folder.
"""

import numpy as np

PITCH = 1  # index in half-cheetah's observations
SPREAD = 3.0

arrays = dict(np.load("../demos/halfcheetah.npz", allow_pickle=False))
mean = arrays["observations"][:, PITCH].mean()
for name in ("observations", "final_observations"):
    values = arrays[name].copy()
    values[:, PITCH] = mean + SPREAD * (values[:, PITCH] - mean)
    arrays[name] = values
arrays["sha256"] = np.array("")  # gailbench did not sample them
np.savez("wide.npz", **arrays)
