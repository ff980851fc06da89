"""What students are trained on: token ids, rows, weights, orders."""
