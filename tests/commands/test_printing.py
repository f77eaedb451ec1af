"""What commands print where the encoding of the output lacks characters."""

from __future__ import annotations

import gailbench.commands.printing  # noqa: F401  (registers the error handler)
from gailbench.report.text import LEGEND, SINGLE_SYMBOLS, SYMBOLS


def test_every_sign_of_a_verdict_has_a_plain_form_of_its_own() -> None:
    signs = [sign for sign in (*SYMBOLS.values(), *SINGLE_SYMBOLS.values()) if sign]
    plain = [sign.encode("latin-1", errors="gailbench").decode() for sign in signs]
    assert len(set(plain)) == len(signs)
    assert all(len(form) <= 2 and form.isascii() for form in plain)
    legend = LEGEND.encode("latin-1", errors="gailbench").decode()
    assert legend == "= matches, ^ better, v worse (=1 ^1 v1: by one run of each side), ? open"
