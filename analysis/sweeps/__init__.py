"""Sweeps: many edits on many runs as one table, resumable, in shards."""
