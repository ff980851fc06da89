"""Predictive distributions, intervals and sets: their scores, and sets that cover by construction."""
