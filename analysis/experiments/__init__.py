"""Runs of organisms, recorded and paired: twins, sweeps of edits, and what a run is measured by."""
