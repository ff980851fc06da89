"""Sources of randomness: which draw of which source every student gets."""
