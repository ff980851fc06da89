"""Responses that people already have, made a bank."""
