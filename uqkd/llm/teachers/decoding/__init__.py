"""How the transformers backend draws: the choice of next tokens, and when batches are exact."""
