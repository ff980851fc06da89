"""Students of a language model: where they begin, what they are trained on, how, and what they answer."""
