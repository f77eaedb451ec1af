"""A run's learning curve for TensorBoard: an event file in its folder, written by PyTorch's own writer."""

from __future__ import annotations

import math
from collections.abc import Sequence

from gailbench.plumbing.extras import load_extra
from gailbench.runs.folder import RunFolder


def check_installed() -> None:
    """Check that TensorBoard is installed.

    Raises:
        GailbenchError: TensorBoard is not installed; the message says what to install.
    """
    load_extra("tensorboard", "tensorboard", "--tensorboard")


class EventFile:
    """Writes the rows of a learning curve. Each number is a scalar `curve/COLUMN`, with the iteration as its step.

    A continued run replaces its earlier file by a new one with all rows so far. So no iteration is there twice or
    missing, although rows after the last checkpoint are computed again.

    Args:
        folder: The run folder.
        rows: All rows so far.
    """

    def __init__(self, folder: RunFolder, rows: Sequence[dict[str, float]]) -> None:
        check_installed()
        from torch.utils.tensorboard import SummaryWriter

        for earlier in folder.events:
            earlier.unlink()
        # A running TensorBoard drops what it has read from step 0 on.
        self._writer = SummaryWriter(str(folder.path), purge_step=0)
        self._written = 0
        self.extend(rows)

    def extend(self, rows: Sequence[dict[str, float]]) -> None:
        """Write those rows that are not in the file yet. `rows` holds all rows so far.

        Raises:
            OSError: The file cannot be written.
        """
        for row in rows[self._written :]:
            for name, value in row.items():
                if name != "iteration" and math.isfinite(value):
                    self._writer.add_scalar(f"curve/{name}", value, int(row["iteration"]))
        self._written = len(rows)
        self._writer.flush()

    def close(self) -> None:
        """Close the file."""
        self._writer.close()
