"""Results of other methods, from a CSV file of evaluation returns."""

from __future__ import annotations

import csv
import math
import re
from pathlib import Path

import numpy as np
import pandas as pd

from gailbench.algorithms import is_taken, registry
from gailbench.plumbing.errors import GailbenchError, first_line
from gailbench.plumbing.files import LARGEST_TABLE, check_regular
from gailbench.report.load import LARGEST_RETURN, RUN_TYPES, Results
from gailbench.tasks import TASKS

ADDED = "added"  # the settings of runs from a file of --add
ADDED_COLUMNS = ("task", "algorithm", "trajectories", "seed", "episode", "return")
NAME = re.compile(r"[^\x00-\x1f\x7f-\x9f\ud800-\udfff]{1,60}")


def add_results(results: Results, file: Path) -> Results:
    """Return the results with added runs of another method, from a CSV file of evaluation returns with ADDED_COLUMNS.

    Raises:
        GailbenchError: The file cannot be read, lacks a column, has a value that should be a number and is not, has an
            episode twice, or uses a name or heading of one of our algorithms.
    """
    text = {"task": "str", "algorithm": "str"}
    try:
        check_regular(file)
        if file.stat().st_size > LARGEST_TABLE:
            raise GailbenchError(f"{file} is larger than {LARGEST_TABLE:,} bytes; give the evaluation returns only")
        lines = _lines(file)  # first, since pandas only warns of a row with more columns than the header
        frame = pd.read_csv(
            file,
            dtype=text,
            keep_default_na=False,
            na_values={"return": [""]},
            skipinitialspace=True,
            compression=None,  # otherwise pandas guesses the compression from the file's name
            index_col=False,
            on_bad_lines="error",
            low_memory=False,  # otherwise a column may hold several types
        )
        frame.index = pd.Index(lines)
    except OSError as error:
        raise GailbenchError(f"{file} cannot be read ({error.strerror})") from error
    except (ValueError, csv.Error) as error:
        raise GailbenchError(
            f"{file} is not a CSV file, uncompressed, with the columns {', '.join(ADDED_COLUMNS)} ({first_line(error)})"
        ) from error
    missing = [column for column in ADDED_COLUMNS if column not in frame]
    if missing:
        raise GailbenchError(f"{file} has no column '{missing[0]}'; it needs {', '.join(ADDED_COLUMNS)}")
    if frame.empty:
        raise GailbenchError(f"{file} has no rows")
    for column in ADDED_COLUMNS[2:]:
        numbers = pd.to_numeric(frame[column], errors="coerce").to_numpy(dtype=np.float64)
        wrong = ~np.isfinite(numbers) | (frame[column].dtype == bool)  # pandas reads true and false as such
        if column == "return":
            wrong |= np.abs(numbers) >= LARGEST_RETURN
        else:
            wrong |= (numbers < 0) | (np.floor(numbers) != numbers) | (numbers >= 2**31)
        if wrong.any():
            line, value = frame.index[wrong][0], frame[column][wrong].iloc[0]
            kind = f"a finite number below {LARGEST_RETURN:g}" if column == "return" else "a whole number below 2^31"
            raise GailbenchError(f"{file}, line {line}: {column} '{value}' is not {kind}")
        frame[column] = numbers if column == "return" else numbers.astype(np.int64)
    for column in ("task", "algorithm"):
        frame[column] = frame[column].str.strip()
        if (empty := frame[column] == "").any():
            raise GailbenchError(f"{file}, line {frame.index[empty][0]}: {column} is empty")
    for column in ("task", "algorithm"):
        for name in frame[column].unique():
            if not NAME.fullmatch(name):
                raise GailbenchError(
                    f"{file}: '{name[:40]}' cannot be the name of a {'method' if column == 'algorithm' else 'task'}: "
                    "printable characters, at most 60"
                )
    taken = {name.casefold() for name in results.runs["algorithm"]}
    ours = [n for n in frame["algorithm"].unique() if n.casefold() in taken or is_taken(n, registry().values())]
    if ours:
        raise GailbenchError(
            f"{file} uses the name '{ours[0]}', which is in the table already; give the method another name"
        )
    key = ["task", "algorithm", "trajectories", "seed"]
    if (twice := frame.duplicated([*key, "episode"])).any():
        raise GailbenchError(f"{file}, line {frame.index[twice][0]}: this episode is there twice")
    runs, returns = [results.runs], [results.returns]
    first = int(results.runs["run"].max()) + 1 if len(results.runs) else 0
    for number, (names, rows) in enumerate(frame.groupby(key, sort=False), start=first):
        spec = {"run": number, "settings": ADDED, "entropy_weight": math.nan, "of_paper": True, "folder": None}
        spec |= {"demonstrations_sha256": "", "expert_sha256": "", **dict(zip(key, names, strict=True))}
        runs.append(pd.DataFrame([spec], columns=list(RUN_TYPES)).astype(RUN_TYPES))
        returns.append(pd.DataFrame({"run": number, "return": rows["return"].to_numpy()}))
    remarks = list(results.remarks)
    if foreign := sorted(set(frame["task"]) - set(TASKS)):
        remarks.append(f"{file.name} has tasks that are not the paper's: {', '.join(foreign)}")
    return Results(pd.concat(runs, ignore_index=True), pd.concat(returns, ignore_index=True), remarks)


def _lines(file: Path) -> list[int]:
    """Return the lines in which the rows after the header end. Empty lines, which pandas skips, are no rows.

    Raises:
        ValueError: A row has more or fewer columns than the header, so that pandas would shift them; or the header has
            a column twice, of which pandas would rename one.
    """
    with file.open(newline="", encoding="utf-8-sig") as stream:
        rows = csv.reader(stream, skipinitialspace=True)
        header: list[str] = next((row for row in rows if row), [])
        if twice := [name for number, name in enumerate(header) if name in header[:number]]:
            raise ValueError(f"the header has the column '{twice[0]}' twice")
        lines = []
        for row in rows:
            if row in ([], [""]):
                continue
            if len(row) != len(header):
                raise ValueError(f"line {rows.line_num} has {len(row)} columns, the header {len(header)}")
            lines.append(rows.line_num)
    return lines
