"""The formats of a report. A module of its own: the command line names them before it imports the report."""

from __future__ import annotations

FIGURE_FORMATS = ("png", "svg", "pdf")
FORMATS = ("md", "csv", "json", "tex", "html", *FIGURE_FORMATS)
