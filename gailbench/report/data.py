"""The report as data: table.json."""

from __future__ import annotations

import json
import math
from typing import Any

import pandas as pd

from gailbench.report.claims import evidence, words
from gailbench.report.controls import CONTROL_COLUMNS
from gailbench.report.findings import Findings
from gailbench.report.table import OTHER_COLUMNS, TABLE_COLUMNS
from gailbench.report.verdicts import VERDICT_COLUMNS


def table_json(findings: Findings) -> str:
    """Return everything in the report as JSON. Unknown values are null."""
    content = {
        "headline": findings.headline,
        "caveat": findings.caveat,
        "claims": [
            {
                "text": claim.text,
                "ours": claim.ours,
                "paper": claim.paper,
                "deciding": [
                    {"condition": words(condition), "cells": evidence(condition, claim.table)}
                    for condition in claim.deciding
                ],
            }
            for claim in findings.claims
        ],
        "verdicts": findings.counts,
        "cells": records(findings.table[[*TABLE_COLUMNS, "training_runs", *VERDICT_COLUMNS]]),
        "controls": records(findings.controls[CONTROL_COLUMNS]),
        "other_settings": records(findings.others[OTHER_COLUMNS]),
        "iqm": records(findings.across.iqm),
        "probability_of_improvement": records(findings.across.improvement),
        "performance_profiles": records(findings.across.profiles),
        "remarks": findings.remarks,
    }
    return json.dumps(content, indent=1, allow_nan=False, ensure_ascii=False) + "\n"


def records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the rows of a data frame as plain Python values, with None for NaN."""
    return [{str(key): plain(value) for key, value in row.items()} for row in frame.to_dict("records")]


def plain(value: Any) -> Any:
    """Return a value for JSON: numbers with ten digits, None for NaN."""
    if isinstance(value, float):
        return None if math.isnan(value) else float(f"{value:.10g}")
    return value.item() if hasattr(value, "item") else value
