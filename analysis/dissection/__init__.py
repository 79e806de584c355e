"""A dissection: growth, then every assay of an organism, as one report."""
