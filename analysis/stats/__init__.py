"""Statistics that every assay shares: surrogates, null tests, multiple testing, trends."""
