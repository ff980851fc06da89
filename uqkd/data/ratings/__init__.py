"""Texts that several people rated: counts of what they said, from a file; facts, parts, raters in two halves."""
