"""How estimators are trained: settings, maps, one loop, checkpoints."""
