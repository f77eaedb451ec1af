"""What a result was made with is known."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

import gailbench
from gailbench.plumbing import versions

CHECKOUT = Path(gailbench.__file__).parents[1]


@pytest.mark.skipif(not (CHECKOUT / ".git").exists(), reason="not a checkout")
def test_in_a_checkout_the_commit_is_known() -> None:
    head = subprocess.run(["git", "-C", str(CHECKOUT), "rev-parse", "HEAD"], capture_output=True, text=True, check=True)
    assert re.fullmatch(re.escape(head.stdout.strip()) + r"\+?", versions._commit())


def test_outside_a_checkout_it_is_empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gailbench, "__file__", str(tmp_path / "gailbench" / "__init__.py"))
    assert versions._commit() == ""
