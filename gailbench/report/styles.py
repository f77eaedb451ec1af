"""Colors and markers: the same for an algorithm in every figure and on the page."""

from __future__ import annotations

from collections.abc import Iterable

# Okabe and Ito's palette, told apart by people with any common color vision; markers help in print.
STYLES: dict[str, tuple[str, str]] = {
    "BC": ("#E69F00", "s"),
    "FEM": ("#CC79A7", "^"),
    "GTAL": ("#009E73", "v"),
    "GAIL": ("#0072B2", "o"),
    "GAIL λ = 0": ("#0072B2", "o"),
    "GAIL λ = 0.001": ("#56B4E9", "D"),
    "GAIL λ = 0.01": ("#000000", "P"),
    "GAIL λ = 0.1 (unpublished)": ("#999999", "X"),
}
OTHER_STYLES = (("#D55E00", "X"), ("#F0E442", "*"), ("#999999", "p"))


def styles_of(methods: Iterable[str]) -> dict[str, tuple[str, str]]:
    """Return color and marker of each of these methods, in the order of the legend."""
    names = set(methods)
    known = {name: style for name, style in STYLES.items() if name in names}
    others = sorted(names - set(STYLES))
    return known | {name: OTHER_STYLES[i % len(OTHER_STYLES)] for i, name in enumerate(others)}
