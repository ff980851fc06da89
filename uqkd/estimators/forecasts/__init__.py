"""Scores of predictive distributions and intervals of numbers."""
