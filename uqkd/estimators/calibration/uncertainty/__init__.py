"""Calibration errors with the noise taken off, their intervals, and bands for reliability curves."""
