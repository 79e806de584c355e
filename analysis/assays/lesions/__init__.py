"""What an organism needs, when, and what backs up what: atlas, pairs, periods, repair."""
