"""How students are trained: the ways, how one is chosen, micro-batches and checkpoints."""
