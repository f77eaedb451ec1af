"""Runs: what determines one, its folder on disk, carrying it out, and planning many."""
