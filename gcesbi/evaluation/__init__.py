"""Networks on maps of known truth: calibration, misspecification, matched maps, injection."""
