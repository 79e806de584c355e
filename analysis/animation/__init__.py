"""Growth as films: states become pictures, pictures become a file."""
