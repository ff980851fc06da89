"""What students of a classifier are trained on, and how each target is made."""
