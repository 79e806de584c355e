"""Many networks as one subject: who counts, what each shows, and what their regimes have in common."""
