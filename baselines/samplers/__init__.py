"""Samplers of posteriors, and the targets they share."""
