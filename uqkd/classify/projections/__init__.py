"""Nearest class probabilities under constraints, exact, with certificates."""
