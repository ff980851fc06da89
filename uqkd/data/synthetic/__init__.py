"""Data that are made: generated texts with known posteriors, wrong labels at a known rate, data with less in them."""
