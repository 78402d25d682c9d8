"""Slope of the NFW, and its weight against a bulge, on the real 573-week map: Poisson profile and NPTF.

Run as ``python benchmarks/floating_templates.py FERMI_573W BULGE.fits [SECONDS]``. Model O, 3FGL mask, one energy bin.
The NFW is drawn and smoothed by the library; a FITS bulge is read as it is and smoothed.
"""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

import numpy as np

import gcesbi
from gcesbi import Formula, Map, Mixture
from gcesbi.baselines import NPTF, ModelPriors, NestedSampling, NptfPriors, PoissonFit
from gcesbi.simulation.sky_settings import FolderSky


def main(folder: str, bulge: str, seconds: float = 600.0) -> None:
    """Print both posteriors."""
    observation = gcesbi.read_observation(folder, radius=25, band=2, mask="3fgl")
    stated = FolderSky(path=folder, diffuse="O").composition()
    nfw = Formula(formula="nfw", gamma=1.2)
    mixture = Mixture(mixture=(nfw, Map(file=str(Path(bulge)), smoothed=False)))
    for name, template in (("gce_gamma", Formula(formula="nfw", gamma=(0.9, 1.4))), ("gce_weight", mixture)):
        model = gcesbi.SkyModel.build(stated.change("gce", template=template))
        fit = PoissonFit(model, observation).run()
        low, high = fit.shape_interval(name)
        print(
            f"{name}: Poisson profile {fit.shapes[name]:.3f} ({low:.3f}-{high:.3f}), "
            f"ln L {fit.log_likelihood:.2f}, TS of the excess {fit.test_statistic('gce'):.1f}",
            flush=True,
        )
        for label, priors in (("literature", NptfPriors()), ("model", ModelPriors())):
            nptf = NPTF(model, observation, priors)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                posterior = nptf.run(NestedSampling(n_live=150, n_eff=500), 1, max_seconds=seconds, progress=False)
            drawn = posterior.theta[:, nptf.names.index(name)]
            middle, below, above = np.quantile(drawn, [0.5, 0.16, 0.84])
            share = np.quantile(
                nptf.quantities(posterior.theta)["flux_fraction"][:, model.names.index("gce")], [0.5, 0.16, 0.84]
            )
            print(
                f"{name}: NPTF, {label} priors, {middle:.3f} ({below:.3f}-{above:.3f}); flux fraction of the excess "
                f"{share[0]:.3f} ({share[1]:.3f}-{share[2]:.3f}); ln Z {posterior.log_evidence:.2f}; "
                f"{'; '.join(posterior.convergence.problems) or 'converged'}",
                flush=True,
            )


if __name__ == "__main__":
    main(*sys.argv[1:3], *(float(each) for each in sys.argv[3:4]))
