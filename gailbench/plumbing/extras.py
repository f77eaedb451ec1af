"""Optional packages, which extras install."""

from __future__ import annotations

import importlib
from typing import Any

from gailbench.plumbing.errors import GailbenchError


def how_to_install(extra: str) -> str:
    """Return what to do if the packages of an extra are missing. gailbench is installed from a checkout."""
    return f"install it with pip install -e '.[{extra}]' in a checkout of gailbench"


def load_extra(module: str, extra: str, purpose: str) -> Any:
    """Import an optional package.

    Raises:
        GailbenchError: The package is not installed. The message names the extra that installs it.
    """
    try:
        return importlib.import_module(module)
    except ImportError:
        raise GailbenchError(
            f"{purpose} needs the package {module.partition('.')[0]}; {how_to_install(extra)}"
        ) from None
