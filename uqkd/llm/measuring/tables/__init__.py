"""What was measured as tables and lines."""
