"""Commands of language models: from sampling a teacher to what its students do not know."""
