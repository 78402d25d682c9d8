"""The steps of an analysis: a run folder, its settings, and what is done with them."""
