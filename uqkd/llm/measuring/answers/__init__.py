"""What students answered, and where it is kept."""
