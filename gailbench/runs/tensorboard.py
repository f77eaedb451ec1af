"""A run's learning curve for TensorBoard: an event file in its folder, written by PyTorch's own writer."""

from __future__ import annotations

import math
from collections.abc import Sequence

from gailbench.plumbing.bounds import load_extra
from gailbench.runs.folder import RunFolder


def check_installed() -> None:
    """Check that TensorBoard is there.

    Raises:
        GailbenchError: It is not; the message says what to install.
    """
    load_extra("tensorboard", "tensorboard", "--tensorboard")


class EventFile:
    """Takes the rows of a learning curve: a scalar `curve/COLUMN` for each figure, with the iteration as its step.

    A run that is taken up again begins a new file, with all rows so far, in place of the earlier one: what was written
    after the last checkpoint is not there twice, and what was lost in a kill is not missing.

    Args:
        folder: The run's.
        rows: All rows so far.
    """

    def __init__(self, folder: RunFolder, rows: Sequence[dict[str, float]]) -> None:
        check_installed()
        from torch.utils.tensorboard import SummaryWriter

        for earlier in folder.events:
            earlier.unlink()
        # From step 0 on a TensorBoard that is watching forgets what it has read.
        self._writer = SummaryWriter(str(folder.path), purge_step=0)
        self._written = 0
        self.extend(rows)

    def extend(self, rows: Sequence[dict[str, float]]) -> None:
        """Write those of all rows so far that are not in the file yet.

        Raises:
            OSError: They cannot be written.
        """
        for row in rows[self._written :]:
            for name, value in row.items():
                if name != "iteration" and math.isfinite(value):
                    self._writer.add_scalar(f"curve/{name}", value, int(row["iteration"]))
        self._written = len(rows)
        self._writer.flush()

    def close(self) -> None:
        """End the file."""
        self._writer.close()
