"""Runs: their specs and folders, doing one run, and planning many."""
