"""Colors and markers: the same for an algorithm in every figure and on the page."""

from __future__ import annotations

from collections.abc import Iterable

Styles = dict[str, tuple[str, str]]  # color and marker by method
# Okabe and Ito's palette, which people with color blindness can distinguish. Markers help in print.
STYLES: Styles = {
    "BC": ("#E69F00", "s"),
    "FEM": ("#CC79A7", "^"),
    "GTAL": ("#009E73", "v"),
    "GAIL": ("#0072B2", "o"),
    "GAIL λ = 0": ("#0072B2", "o"),
    "GAIL λ = 0.001": ("#56B4E9", "D"),
    "GAIL λ = 0.01": ("#000000", "P"),
    "GAIL λ = 0.1 (unpublished)": ("#999999", "X"),
    "constant": ("#D55E00", "X"),
}
OTHER_STYLES = (
    ("#8C6BB1", "*"),
    ("#A6761D", "p"),
    ("#66A61E", "h"),
    ("#E7298A", "<"),
    ("#17BECF", ">"),
    ("#A50F15", "d"),
    ("#7F7F7F", "H"),
    ("#FB8072", "8"),
    ("#6A51A3", "D"),
    ("#B3DE69", "P"),
)


def styles_of(methods: Iterable[str]) -> Styles:
    """Return color and marker of methods, in the order of the legend."""
    names = set(methods)
    known = {name: style for name, style in STYLES.items() if name in names}
    others = sorted(names - set(STYLES))
    return known | {name: OTHER_STYLES[i % len(OTHER_STYLES)] for i, name in enumerate(others)}
