"""Whether class probabilities mean what they say: calibration, temperature, ranking, linearity."""
