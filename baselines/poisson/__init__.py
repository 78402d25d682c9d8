"""Poisson template fits."""
