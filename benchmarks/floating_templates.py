"""Slope of the NFW, and its weight against a bulge, on the real 573-week map: Poisson profile, NPTF and networks.

``python benchmarks/floating_templates.py FERMI_573W BULGE.fits [SECONDS]`` profiles and samples;
``python benchmarks/floating_templates.py FERMI_573W BULGE.fits --networks RUNS`` trains the networks of shapes in two
runs under RUNS, judges them on maps held out, and asks them about the real map. What was drawn or trained there is
kept: start it again to go on. Model O, 3FGL mask, one energy bin. The NFW is drawn and smoothed by the library; a FITS
bulge is read as it is and smoothed.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np

import gcesbi
from gcesbi import Formula, Map, Mixture, Observation
from gcesbi.analysis.settings import load_settings
from gcesbi.baselines import NPTF, ModelPriors, NestedSampling, NptfPriors, PoissonFit
from gcesbi.estimators import ShapeEstimator, ShapePosterior, true_shapes
from gcesbi.simulation.sky_settings import FolderSky

N_TRAIN, N_TEST = 32_768, 2_048
SETTINGS = (
    f"simulation.n_train={N_TRAIN}",
    f"simulation.n_test={N_TEST}",
    f"training.max_maps={5 * N_TRAIN // 2}",
    f"training.head_maps={N_TRAIN // 2}",
)


def skies(folder: str, bulge: str) -> Iterator[tuple[str, gcesbi.SkyModel]]:
    """Name of what floats, and the sky it floats in."""
    stated = FolderSky(path=folder, diffuse="O").composition()
    nfw = Formula(formula="nfw", gamma=1.2)
    mixture = Mixture(mixture=(nfw, Map(file=str(Path(bulge)), smoothed=False)))
    for name, template in (("gce_gamma", Formula(formula="nfw", gamma=(0.9, 1.4))), ("gce_weight", mixture)):
        yield name, gcesbi.SkyModel.build(stated.change("gce", template=template))


def fits(name: str, model: gcesbi.SkyModel, observation: Observation, seconds: float) -> None:
    """Print the profile, and both posteriors of the NPTF."""
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


def networks(name: str, model: gcesbi.SkyModel, observation: Observation, folder: Path) -> None:
    """Print what the network of shapes says of the map, and how well it says so on maps held out."""
    run = gcesbi.Run.begin(folder, load_settings("default", SETTINGS, sky=model.composition), model)
    run.simulate(backend="threads")
    history = run.train(only=("shapes",))["shapes"]
    network, held_out = run.network("shapes", ShapeEstimator), run.store.read(0, N_TEST)
    low, high = network.ranges[name]
    levels = np.array([0.025, 0.16, 0.5, 0.84, 0.975])
    truth, found = true_shapes(model, held_out)[:, 0], network.quantiles(held_out.counts, levels)[..., 0]
    covered = [np.mean((found[i] <= truth) & (truth <= found[-1 - i])) for i in (1, 0)]
    width = np.quantile(found[3] - found[1], [0.5, 0.1, 0.9]) / (0.68 * (high - low))
    seen = ShapePosterior(network, observation.counts, model.coordinates).quantiles(name, levels)
    print(
        f"{name}: networks {seen[2]:.3f} ({seen[1]:.3f}-{seen[3]:.3f}), 95 % {seen[0]:.3f}-{seen[4]:.3f}\n"
        f"  trained on {history.n_train} maps, {history.maps} presented, {history.seconds:.0f} s\n"
        f"  {N_TEST} maps held out: coverage of 68 % {covered[0]:.3f}, of 95 % {covered[1]:.3f}; 68 % interval over "
        f"that of the prior: median {width[0]:.3f}, 80 % of maps {width[1]:.3f}-{width[2]:.3f}; of the real map "
        f"{(seen[3] - seen[1]) / (0.68 * (high - low)):.3f}",
        flush=True,
    )


def main(folder: str, bulge: str, *more: str) -> None:
    """Print the posteriors of both."""
    observation = gcesbi.read_observation(folder, radius=25, band=2, mask="3fgl")
    for name, model in skies(folder, bulge):
        if more[:1] == ("--networks",):
            networks(name, model, observation, Path(more[1]) / name)
        else:
            fits(name, model, observation, float(more[0]) if more else 600.0)


if __name__ == "__main__":
    main(*sys.argv[1:])
