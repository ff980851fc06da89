"""Layer 3: language models. Sample a teacher, distil many students, and see how much of its uncertainty survived."""
