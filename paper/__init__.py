"""Figures of the papers, redrawn from runs of the library: ``python -m paper --scale quick --out runs/paper/quick``.

A figure is a function from run folders to a matplotlib figure; runs are declared once and shared
(:mod:`paper.graph`). Simulation, training and inference are the library's.
"""
