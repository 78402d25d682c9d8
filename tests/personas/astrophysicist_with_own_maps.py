"""An astrophysicist with FITS maps: read them, state the sky, fit it, and see what speaks against the fit."""

import numpy as np

import gcesbi
from gcesbi import Formula, PointSources, SkyModel, Smooth
from gcesbi.baselines import PoissonFit, goodness_of_fit
from gcesbi.io import write_observation

sky = SkyModel(  # stands for a telescope here: its mock map is written as FITS, and the file read like any other
    [
        Smooth(name="gas", template="pion-decay", norm=(200.0, 800.0), spectrum="power-law"),
        Smooth(name="extragalactic", template="isotropic", norm=(0.0, 100.0), spectrum="power-law"),
        PointSources(
            name="excess", template=Formula(formula="nfw"), populations=[{"xi": (-12, -9), "flux": (0, 2e-7)}]
        ),
    ],
    region={"nside": 16, "radius": 20, "band": 2},
    energy_edges="2:20:2",
    subject="excess",
)
theta = sky.prior().draw(1, np.random.default_rng(1))[0]
write_observation("mine.fits", gcesbi.Simulator(sky).observe(theta, seed=2)[0], overwrite=True)

seen = gcesbi.read_observation("mine.fits", radius=20, band=2)
fit = PoissonFit(sky.for_observation(seen), seen).run()
for name, share in zip(fit.names, fit.flux_fraction, strict=True):
    print(f"{name}: {100 * share:.1f} % of the flux, TS {fit.test_statistic(name):.0f}")
judged = goodness_of_fit(fit, 50)
print(f"goodness of fit: p = {judged.p_value:.2f}; deviant pixels: {len(judged.deviant)}")
