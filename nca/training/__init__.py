"""Training: from a recipe to an organism, one network or many."""
