"""Confidence intervals: of mean squares, of means over few students, by the bootstrap."""
