"""The non-Poissonian template fit."""
