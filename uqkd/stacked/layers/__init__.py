"""Stacked layers: S students in one module, each with parameters of its own."""
