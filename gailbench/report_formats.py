"""The formats of a report, in a separate module so that the command line need not import the report for its help."""

from __future__ import annotations

FIGURE_FORMATS = ("png", "svg", "pdf")
FORMATS = ("md", "csv", "json", "tex", "html", *FIGURE_FORMATS)
