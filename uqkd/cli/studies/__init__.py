"""Commands of studies and their results."""
