"""Fingerprint of a method: the definitions that a study's measurement can reach, and the libraries below them."""
