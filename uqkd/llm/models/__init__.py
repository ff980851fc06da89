"""A model's folder: which model it is, what its configuration says, and its tokenizer."""
