"""What commands print: tables, and signs where the encoding of the output lacks characters."""

from __future__ import annotations

import pytest

from gailbench.commands.printing import print_table
from gailbench.report.text import LEGEND, SINGLE_SYMBOLS, SYMBOLS


def test_every_sign_of_a_verdict_has_a_plain_form_of_its_own() -> None:
    signs = [sign for sign in (*SYMBOLS.values(), *SINGLE_SYMBOLS.values()) if sign]
    plain = [sign.encode("latin-1", errors="gailbench").decode() for sign in signs]
    assert len(set(plain)) == len(signs)
    assert all(len(form) <= 2 and form.isascii() for form in plain)
    legend = LEGEND.encode("latin-1", errors="gailbench").decode()
    assert legend == "= matches, ^ better, v worse (=1 ^1 v1: by one run of each side), ? open"


@pytest.mark.parametrize("name", ["mine [no BN]", "[/RL] [bold]", "模仿学习与行为克隆"])
def test_a_table_shows_any_name_in_full(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    print_table(("task", name), [("cartpole", "1.00"), (name, "0.50")])
    heading, first, second = capsys.readouterr().out.splitlines()
    assert heading.split(maxsplit=1) == ["task", name]
    assert first.split() == ["cartpole", "1.00"]
    assert second == f"{name}  {second.removeprefix(name).strip():>{len(second) - len(name) - 2}}"
    assert second.endswith("0.50")
