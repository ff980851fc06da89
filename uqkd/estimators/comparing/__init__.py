"""Two methods compared, claims of the form "this is lower than that", and theory beside simulation."""
