"""Engines: how the runs of a grid are spread, over the processes of one machine (local) or over many (ray)."""
