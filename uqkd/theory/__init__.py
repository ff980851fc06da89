"""Theory: statements T1 to T12 as functions, and their checks by simulation."""
