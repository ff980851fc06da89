"""The paper: `make paper`. Every number in its text is looked up in results; LaTeX that holds one typed by hand fails a test."""
