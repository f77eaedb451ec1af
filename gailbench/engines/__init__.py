"""Engines: they do many runs, in processes of one machine (local) or on a cluster (ray)."""
