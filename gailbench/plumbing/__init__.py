"""What any tool needs and no paper mentions: errors, files, locks, signals, streams of randomness, checkpoints.

Nothing here knows of tasks, policies or runs.
"""
