"""How similar responses are, and which say the same."""
