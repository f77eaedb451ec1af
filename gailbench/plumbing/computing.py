"""Setting up a process for computing: its number of threads, and how it keeps freed memory."""

from __future__ import annotations

import contextlib
import ctypes
from collections.abc import Iterator

import torch
from threadpoolctl import threadpool_limits

# Parameters from glibc's malloc.h. The first is how much free memory is kept at the end of the heap. The second is the
# size from which a block is allocated by mmap; glibc accepts at most 32 MiB.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_MIB = 2**20


def prepare_process(threads: int) -> None:
    """Set the number of threads of PyTorch and NumPy, and let the process keep freed memory.

    By default glibc returns the activations of every block of rows to the system. The system then clears and maps each
    page again for the next block, which takes 15 % of a gradient's time. Other C libraries are not changed.
    """
    torch.set_num_threads(threads)
    threadpool_limits(threads, user_api="blas")
    with contextlib.suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_M_MMAP_THRESHOLD, 32 * _MIB)
        mallopt(_M_TRIM_THRESHOLD, 1024 * _MIB)


@contextlib.contextmanager
def prepared(threads: int) -> Iterator[None]:
    """Prepare a process that is not ours alone (see `prepare_process`), and restore its numbers of threads when the
    block ends."""
    before = torch.get_num_threads()
    with threadpool_limits():  # restores the limits when it ends
        prepare_process(threads)
        try:
            yield
        finally:
            torch.set_num_threads(before)
