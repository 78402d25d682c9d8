"""Draw the README's picture: the real 573-week map, the best Poisson fit and what it leaves.

python paper/readme_figure.py fermi-573w docs/figures/real_map.png
"""

import sys

import numpy as np

from gcesbi import Region, SkyModel, plots, read_observation
from gcesbi.baselines import PoissonFit


def main(folder: str, target: str) -> None:
    """Fit the six templates of Model O and save the figure."""
    model = SkyModel.from_folder(folder)
    observation = read_observation(folder, mask="3fgl")
    fit = PoissonFit(model, observation).run()
    mean = np.einsum("te,tep->p", fit.spectrum, fit.templates)
    figure = plots.counts_and_residuals(Region.of(observation.region), observation.counts.sum(axis=0), mean)
    figure.savefig(target, dpi=110)


if __name__ == "__main__":
    main(*sys.argv[1:])
