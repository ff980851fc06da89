"""The columns of a bank: rows, their bytes, which belong to which prompts, and one hash of all."""
