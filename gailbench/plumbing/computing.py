"""Sets a process up to compute: its threads, and what becomes of memory it has freed."""

from __future__ import annotations

import contextlib
import ctypes

import torch
from threadpoolctl import threadpool_limits

# From glibc's malloc.h: how much free memory it keeps at the end of its heap, and from which size on a block is
# fetched from the system by itself, of which it accepts 32 MiB at most.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_MIB = 2**20


def prepare_process(threads: int) -> None:
    """Let PyTorch and NumPy compute with that many threads, and keep freed memory for the next block of rows.

    By default glibc gives the activations of every block back to the system, which clears and maps each page anew for
    the next one: 15 % of a gradient's time. With another C library nothing changes.
    """
    torch.set_num_threads(threads)
    threadpool_limits(threads, user_api="blas")
    with contextlib.suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_M_MMAP_THRESHOLD, 32 * _MIB)
        mallopt(_M_TRIM_THRESHOLD, 1024 * _MIB)
