"""gcesbi."""
