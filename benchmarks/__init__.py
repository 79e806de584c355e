"""What is timed against what: `python -m benchmarks` from the top of the repository."""
