"""Averaging k responses, and the laws by which variance falls with k."""
