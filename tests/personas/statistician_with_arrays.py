"""A statistician with arrays: whose posterior is calibrated, whose is better? No map, no file of this library."""

import numpy as np

from gcesbi.validation import interval_coverage, report

rng, taus = np.random.default_rng(0), np.arange(1, 100) / 100
truth = rng.normal(size=(400, 3))  # (data set, parameter), from the prior N(0, 1)
mean = (truth + rng.normal(size=truth.shape)) / 2  # one datum of unit noise: the posterior is N(mean, 1/2)
draws = mean + np.sqrt(0.5) * rng.normal(size=(999, *truth.shape))  # (draw, data set, parameter)
bold = mean + 0.7 * (draws - mean)  # claims too much
prior = np.broadcast_to(np.quantile(rng.normal(size=100_000), taus)[:, None, None], (99, *truth.shape))

found = report(truth, {"mine": draws, "bold": bold, "prior": (prior, taus)}, labels=("a", "b", "c"))
print(found.verdict)
table = found.to_dataframe()
print(table[["judgement", "dispersion", "coverage_68", "width_68", "skill"]].round(2))
print("prior's coverage:", interval_coverage(truth, prior, taus, [0.5, 0.9]).round(2))
found.plot().savefig("coverage.png")
found.to_html("calibration.html")
try:
    report(truth, {"mine": np.moveaxis(draws, 0, -1)})
except ValueError as error:
    print(error)
