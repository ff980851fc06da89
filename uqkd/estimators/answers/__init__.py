"""What sampled answers say: agreement, distance, entropy of meanings, and whether draws repeat each other."""
