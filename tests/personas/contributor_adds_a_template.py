"""A contributor who adds a template: an array on the sky becomes a component that every method knows."""

import healpy
import numpy as np

import gcesbi
from gcesbi import Formula, Map, PointSources, SkyModel, Smooth
from gcesbi.baselines import PoissonFit

lon, lat = healpy.pix2ang(16, np.arange(healpy.nside2npix(16)), nest=True, lonlat=True)
lon = (lon + 180) % 360 - 180
ring = np.exp(-(((np.hypot(lon, lat) - 10) / 3) ** 2))  # photons per steradian, in any unit; NESTED

model = SkyModel(
    [
        Smooth(name="ring", template=Map(values=ring, order="nested", smoothed=False), norm=(0.0, 300.0)),
        Smooth(name="flat", template="isotropic", norm=(50.0, 200.0), spectrum="power-law"),
        PointSources(name="halo", template=Formula(formula="nfw"), populations=[{"xi": (-12, -9), "flux": (0, 1e-7)}]),
    ],
    region={"nside": 16, "radius": 20, "band": 2},
    energy_edges=[2, 20],
    subject="halo",
)
print(model.prior().describe())
seen, truth = gcesbi.Simulator(model).observe(model.prior().draw(1, np.random.default_rng(3))[0], seed=4)
fit = PoissonFit(model, seen).run()
told = dict(zip(fit.names, fit.flux_fraction, strict=True))
true = truth.flux[0].sum(axis=1) / truth.flux.sum()
print("ring:", round(told["ring"], 3), "of the flux; in truth", round(float(true[0]), 3))
