"""Inter- and intra-student variance of numbers and of class probabilities, and components of variance."""
