"""Assays: one folder per question, all alike."""
