"""Pages and tables: what a run found, as HTML and for the terminal."""
