"""Showing one run in the terminal."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from gailbench.algorithms import CONSTANT, registry
from gailbench.plumbing.errors import GailbenchError, one_line, plural
from gailbench.report.curves import read_curve
from gailbench.report.data import plain
from gailbench.report.load import Damaged, content_of, read_run
from gailbench.report.table import measured_baselines, method, normalize, own_baselines, paper_cell
from gailbench.report.text import mean_and_std, score
from gailbench.runs.folder import PARTITIONS, RunFolder

WIDTH = 60
_BLOCKS = "▁▂▃▄▅▆▇█"


@dataclass(frozen=True)
class Description:
    """A description of a run.

    Attributes:
        content: Values for JSON: spec, status, evaluation, first and last return of the curve, the paper's value.
        curve: Mean true returns, one per iteration; empty if there are none.
    """

    content: dict[str, Any]
    curve: list[float]


def describe(folder: Path) -> Description:
    """Read the folder of a complete or incomplete run.

    Raises:
        GailbenchError: The folder is not a run folder, or is damaged.
    """
    files = RunFolder(folder)
    if not files.spec.exists():
        raise GailbenchError(
            f"{folder} is not a run: there is no spec.json in it; runs are RESULTS/runs/task=.../.../seed=..."
        )
    try:
        spec, returns = read_run(folder)
        curve = read_curve(folder)
        details = json.loads(content_of(files.spec))
        versions = _json(files.versions, str)
        timing = _json(files.timing, float)
    except Damaged as damage:
        raise GailbenchError(f"{folder} is damaged: {damage}") from None
    weight = spec["entropy_weight"]
    content: dict[str, Any] = {
        "heading": f"{spec['task']}, {method(spec['task'], spec['algorithm'], weight)}, "
        f"{plural(spec['trajectories'], 'demonstrated trajectory')}, seed {spec['seed']}",
        "folder": str(folder),
        "status": _status(files),
        "spec": details,
        "versions": versions,
        "timing": timing,
        "iterations_done": len(curve),
    }
    known = curve[curve["return_mean"].notna()] if "return_mean" in curve else curve.iloc[:0]
    if len(known):
        content["curve"] = {
            "first": plain(float(known["return_mean"].iloc[0])),
            "best": plain(float(known["return_mean"].max())),
            "last": plain(float(known["return_mean"].iloc[-1])),
            "steps": plain(float(known["steps"].iloc[-1])),
        }
    if returns is not None:
        known_returns = own_baselines(_results_of(folder), measured_baselines())
        normalized = normalize(pd.Series([returns.mean()]), pd.Series([spec["task"]]), known_returns)
        content["evaluation"] = {
            "trajectories": len(returns),
            "mean": plain(float(returns.mean())),
            "std": plain(float(returns.std())),
            **{
                name: plain(float(np.quantile(returns, q)))
                for name, q in (("lowest", 0.0), ("median", 0.5), ("highest", 1.0))
            },
            "normalized": plain(float(normalized.iloc[0])),
        }
    paper = paper_cell(spec["task"], spec["algorithm"], weight, spec["trajectories"])
    if paper is not None:
        content["paper"] = {
            "mean": plain(float(paper["mean"])),
            "std": plain(float(paper["std"])),
            "normalized": plain(float(paper["normalized_mean"])),
            "training_runs": int(paper["training_runs"]),
        }
    elif spec["algorithm"] == CONSTANT.name:
        content["remark"] = "a control of ours, not the paper's"
    if not spec["of_paper"]:
        content["remark"] = "settings that are not the paper's"
    return Description(content, [float(value) for value in known["return_mean"]] if len(known) else [])


def show_text(description: Description) -> str:
    """Return the description as lines."""
    content = description.content
    spec = content["spec"]
    lines = [content["heading"], f"  status          {content['status']}"]
    for name in ("settings", "entropy_weight", "batch", "iterations"):
        if spec.get(name) is not None:
            lines.append(f"  {name.replace('_', ' '):<15} {spec[name]}")
    for name in ("demonstrations_sha256", "expert_sha256"):
        if spec.get(name):
            lines.append(f"  {name.removesuffix('_sha256'):<15} {spec[name][:16]}...")
    if "command" in content["versions"]:
        lines.append(f"  command         {one_line(str(content['versions']['command']))}")
        lines.append(f"  made with       {_versions(content['versions'])}")
    if "training_seconds" in content["timing"]:
        lines.append(f"  training        {content['timing']['training_seconds']:.0f} s")
    if "curve" in content:
        curve = content["curve"]
        lines.append(
            f"  curve           {sparkline(description.curve)}\n{'':18}true return {curve['first']:.1f} first, "
            f"{curve['best']:.1f} best, {curve['last']:.1f} last, {curve['steps']:,.0f} steps"
        )
    else:
        lines.append(f"  curve           {_no_curve(spec['algorithm'])}")
    if "evaluation" in content:
        found = content["evaluation"]
        lines.append(
            f"  evaluation      {mean_and_std(found['mean'], found['std'])} over {found['trajectories']} trajectories "
            f"({found['lowest']:.1f} lowest, {found['median']:.1f} median, {found['highest']:.1f} highest), "
            f"normalized {score(found['normalized'])}"
        )
    else:
        lines.append("  evaluation      not there yet: the run is not complete")
    if "paper" in content:
        paper = content["paper"]
        lines.append(
            f"  paper           {mean_and_std(paper['mean'], paper['std'])} over "
            f"{plural(paper['training_runs'], 'training run')}, normalized {score(paper['normalized'])}"
        )
    else:
        lines.append("  paper           has no such cell")
    if "remark" in content:
        lines.append(f"  remark          {content['remark']}")
    return "\n".join(lines) + "\n"


def _no_curve(name: str) -> str:
    algorithm = registry().get(name)
    if algorithm is not None and not algorithm.takes_environment_steps:
        return f"no returns ({algorithm.heading} takes no environment steps)"
    return "none yet"


def sparkline(values: list[float], width: int = WIDTH) -> str:
    """Return a curve as a line of block characters. If there are too many values, consecutive ones are averaged."""
    if not values:
        return ""
    averaged = [float(part.mean()) for part in np.array_split(np.array(values), min(width, len(values)))]
    low, high = min(averaged), max(averaged)
    if high == low:
        return _BLOCKS[3] * len(averaged)
    return "".join(_BLOCKS[round((value - low) / (high - low) * (len(_BLOCKS) - 1))] for value in averaged)


def _results_of(folder: Path) -> Path:
    """Return the results folder of a run's folder. A folder that was copied elsewhere may have none."""
    return folder.resolve().joinpath(*[".."] * (len(PARTITIONS) + 1))


def _status(files: RunFolder) -> str:
    if files.complete:
        return "complete"
    if files.checkpoint.exists():
        return "interrupted, or running; the same command continues"
    return f"failed, see {files.error.name}" if files.error.exists() else "not complete"


def _versions(versions: dict[str, Any]) -> str:
    names = [name for name in ("gailbench", "torch", "mujoco", "gymnasium") if name in versions]
    commit = f", commit {versions['commit'][:12]}" if versions.get("commit") else ""
    return ", ".join(f"{name} {versions[name]}" for name in names) + commit


def _json(path: Path, kind: type[str] | type[float]) -> dict[str, Any]:
    """Read an optional file of a run. Return its entries with values of type `kind`."""
    try:
        content = json.loads(content_of(path)) if path.exists() else {}
    except (ValueError, RecursionError):
        raise Damaged(f"{path.name} is not JSON") from None
    return (
        {name: value for name, value in content.items() if isinstance(value, kind)} if isinstance(content, dict) else {}
    )
