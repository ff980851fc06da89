"""Tables of numbers: loaded, checked, split."""
