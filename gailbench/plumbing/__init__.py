"""General tools: errors, files, locks, signals, random streams, checkpoints.

Nothing here knows about tasks, policies or runs.
"""
