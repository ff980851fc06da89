"""Combining sources by their precision: known, estimated and shrunken variances."""
