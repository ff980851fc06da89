"""Images with classes: loaded, checked, split, shifted."""
