"""The versions, the processor, the commit and the command with which a result was made."""

from __future__ import annotations

import platform
import shlex
import subprocess
import sys
from functools import cache
from importlib.metadata import version
from pathlib import Path

from threadpoolctl import ThreadpoolController

import gailbench


@cache
def versions() -> dict[str, str]:
    """Return the versions of gailbench, Python and the libraries that results depend on, the kind of processor, and the
    commit of the source. On another kind of processor matrix products round differently."""
    libraries = {name: version(name) for name in ("torch", "mujoco", "gymnasium", "numpy")}
    return {
        "gailbench": gailbench.__version__,
        "python": platform.python_version(),
        **libraries,
        "machine": platform.machine(),
        "blas": _blas(),
        "commit": _commit(),
    }


def command() -> str:
    """Return the command line, without the folder of the program."""
    program = Path(sys.argv[0]).name
    return f"{'python -m gailbench' if program == '__main__.py' else program} {shlex.join(sys.argv[1:])}".rstrip()


def _blas() -> str:
    """Return NumPy's library of matrix products, and the kind of processor that it detected: "openblas 0.3.31
    Haswell"."""
    import numpy  # noqa: F401  (loads the library)

    found = ThreadpoolController().select(user_api="blas").info()
    return " ".join(str(found[0].get(key)) for key in ("internal_api", "version", "architecture")) if found else ""


def _commit() -> str:
    """Return the commit of the source, with '+' if tracked files differ from it; empty outside a checkout."""
    root = Path(gailbench.__file__).parents[1]
    if not (root / ".git").exists():
        return ""
    try:
        git = ["git", "-C", str(root)]
        head = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=True)
        dirty = subprocess.run([*git, "diff", "--quiet", "HEAD", "--", "gailbench"], capture_output=True, check=False)
    except (OSError, subprocess.CalledProcessError):
        return ""
    return head.stdout.strip() + ("+" if dirty.returncode else "")
