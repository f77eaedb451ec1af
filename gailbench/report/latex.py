"""The table in LaTeX: a file for \\input that needs the package booktabs."""

from __future__ import annotations

import re

import pandas as pd

from gailbench.report.findings import Findings
from gailbench.report.text import Block, blocks, mean_and_std, score, seeds
from gailbench.report.verdicts import rests_on_single_runs

_SPECIAL = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    **{letter: f"\\{letter}" for letter in "&%$#_{}"},
}
_SYMBOLS = {"matches": "=", "better": r"\uparrow", "worse": r"\downarrow", "open": "?", "": ""}
_WORDS = {"λ": r"$\lambda$", "±": r"$\pm$", "\N{EN DASH}": "--"}


def table_latex(findings: Findings) -> str:
    """Return the paper's table, with our value above the paper's in every cell. There is one `table` per set of
    columns."""
    head = [
        "% Written by 'gailbench report'. Needs \\usepackage{booktabs}.",
        f"% {findings.headline}",
    ]
    tasks = list(findings.table["task"].drop_duplicates())
    return "\n".join([*head, *(_table(block) for block in blocks(findings.table, tasks))]) + "\n"


def escape(text: str) -> str:
    """Return text escaped for LaTeX. Letters beyond ASCII in users' names are left to the TeX engine."""
    plain = "".join(_SPECIAL.get(letter, letter) for letter in text)
    for letter, word in _WORDS.items():
        plain = plain.replace(letter, word)
    return plain


def _table(block: Block) -> str:
    lines = [
        r"\begin{table}",
        r"\centering\scriptsize\setlength{\tabcolsep}{3pt}",
        r"\caption{Return (mean $\pm$ standard deviation over evaluation trajectories), below it the paper's (Ho \&",
        r"Ermon 2016). In parentheses: normalized score; seeds x trajectories of each. $=$ matches, $\uparrow$ better,",
        r"$\downarrow$ worse, with $^{1}$ by one run of each side, $?$ open.}",
        rf"\begin{{tabular}}{{lr{'r' * len(block.methods)}}}",
        r"\toprule",
        " & ".join(["Task", "Trajectories", *map(escape, block.methods)]) + r" \\",
    ]
    before = ""
    for row in block.rows:
        if row.task != before:
            lines.append(r"\midrule")
        ours = [escape(row.task) if row.task != before else "", str(row.trajectories), *map(_ours, row.cells)]
        lines += [" & ".join(ours) + r" \\", " & ".join(["", "", *map(_paper, row.cells)]) + r" \\"]
        before = row.task
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", r"\end{table}"])


def _ours(cell: pd.Series | None) -> str:
    if cell is None or not cell["seeds"]:
        return "--"
    # To save space, the word "seeds" is only written if we have fewer seeds than the paper.
    single = "^{1}" if rests_on_single_runs(cell) else ""
    symbol = f" ${_SYMBOLS[cell['verdict']]}{single}$" if cell["verdict"] else ""
    of_each = seeds(cell) if cell["seeds"] < cell["training_runs"] else re.sub(" seeds? x ", " x ", seeds(cell))
    return escape(f"{mean_and_std(cell['mean'], cell['std'])} ({score(cell['normalized_mean'])}; {of_each})") + symbol


def _paper(cell: pd.Series | None) -> str:
    if cell is None or pd.isna(cell["paper_mean"]):
        return ""
    text = f"{mean_and_std(cell['paper_mean'], cell['paper_std'])} ({score(cell['paper_normalized_mean'])})"
    return rf"\textit{{{escape(text)}}}"
