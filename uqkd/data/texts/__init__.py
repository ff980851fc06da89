"""Texts with classes: loaded, checked, split, tokenized."""
