"""Architectures of classifiers: rows in, logits out."""
