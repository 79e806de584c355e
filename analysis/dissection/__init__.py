"""All assays of one organism, or of several side by side, as one report."""
