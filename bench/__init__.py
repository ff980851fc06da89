"""Speed and memory, as ratios measured in one run: `make bench`, or `python -m bench NAME` for one part."""
