"""Where each cell thinks it is: positional identity, after growth, wounding and grafting."""
