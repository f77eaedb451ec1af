"""What a result was made with."""

from __future__ import annotations

import platform
import subprocess
import sys
from functools import cache
from importlib.metadata import version
from pathlib import Path

from gailbench import __version__


@cache
def versions() -> dict[str, str]:
    """Versions of gailbench, Python and the libraries that results depend on, and the source's commit."""
    libraries = {name: version(name) for name in ("torch", "mujoco", "gymnasium", "numpy")}
    return {
        "gailbench": __version__,
        "python": platform.python_version(),
        **libraries,
        "machine": platform.machine(),
        "commit": _commit(),
    }


def command() -> str:
    """The command line, without the folder of the program."""
    program = Path(sys.argv[0]).name
    return " ".join(["python -m gailbench" if program == "__main__.py" else program, *sys.argv[1:]])


def _commit() -> str:
    """The source's commit, with '+' if files that git tracks differ from it; empty outside a checkout."""
    root = Path(__file__).parents[1]
    if not (root / ".git").exists():
        return ""
    try:
        git = ["git", "-C", str(root)]
        head = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=True)
        dirty = subprocess.run([*git, "diff", "--quiet", "HEAD", "--", "gailbench"], capture_output=True, check=False)
    except (OSError, subprocess.CalledProcessError):
        return ""
    return head.stdout.strip() + ("+" if dirty.returncode else "")
