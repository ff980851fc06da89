"""Intervals for means over prompts of variances between and within students."""
