"""A world whose answer distributions are known exactly, and its testbed."""
