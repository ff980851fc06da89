"""Argument checks of all layers: whatever comes in leaves as finite numbers of the shape asked for."""
