"""What energies are worth to the template fit: posteriors of mocks from ten bins, from their sum, and from one bin.

    python benchmarks/energies.py mocks DIR [--psf] [--laws] [--maps 100] [--first 0]
    python benchmarks/energies.py large DIR
    python benchmarks/energies.py networks DIR [--maps 10] [--first 0] [--summed RUN] [--joint]
    python benchmarks/energies.py pairs DIR --summed RUN [--maps 1000]

`energies_page.py` makes tables and figures of what is in DIR.

*Mocks* are of the default sky with one population of the excess, within 8 degrees and seen for 70 weeks (664 pixels of
nside 128, some 10 photons in each), so that a posterior takes seconds. Spectra of all templates float as log-parabolas;
those of *large* and *networks* are the default's skew normals. Parameters are drawn from the model's prior; maps from
the law of the likelihood (without PSF, where it is exact), or, with ``--psf``, by the simulator. *Large* is one map of
the whole region at nside 128, 20 photons a pixel. *Networks* asks the shipped networks about maps of their own sky,
those of a run that sums energies too (``--summed``), and the likelihood of the sum beside them, and that of ten bins
(``--joint``). *Pairs* asks both kinds of networks about many maps, and no likelihood.

Every map has a file of its own in DIR, and one that exists is not made again: the script may be killed, and run beside
itself on other maps (``--first``).

Posteriors of the sum are sampled by nested sampling, those of ten bins by refining such draws; with ``--laws`` both by
adaptive importance sampling from t laws about all maxima that many climbs find, in a sixth of the time.
"""

from __future__ import annotations

import argparse
import math
import re
import tempfile
import time
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np

import gcesbi
from gcesbi.analysis.folder import RunFolder
from gcesbi.baselines import NPTF, ImportanceSampling, ModelPriors, NestedSampling, PsfCorrection
from gcesbi.baselines.samplers.nested import NestedConvergence
from gcesbi.estimators import SourceCountEstimator

SKY = {"nside": 128, "radius": 8.0, "weeks": 70.0, "gce_populations": 1}
KINDS = ("ten bins", "their sum", "one bin")
SPECTRUM = """
[components.spectrum]
family = "log-parabola"
pivot = 6.0
index = [1.5, 3.5]
curvature = [0.0, 1.0]
"""
NO_PSF = PsfCorrection(np.ones(1), np.ones(1), np.array([1.0, 0.0]))
MOST = 3000  # photons of a source of the likelihood's law, at most
PAIRS = 50  # maps at a time
LEVELS = (0.025, 0.16, 0.5, 0.84, 0.975)
MOMENTS = ("mean log F", "width of log F", "Poisson share")
QUANTITIES = (*(f"{name} of the {of}" for of in ("excess", "disk") for name in MOMENTS), "share of the excess")


def sky(n_energy, **options):
    """The default sky with log-parabolic spectra; options are those of the preset."""
    text = gcesbi.SkyModel.preset(n_energy=n_energy, **options).to_toml()
    text = re.sub(
        r"\n\[components\.spectrum\].*?(?=\n\[\[|\n\[(?!components\.spectrum)|\Z)", SPECTRUM, text, flags=re.S
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "sky.toml"
        path.write_text(text)
        return gcesbi.SkyModel.from_toml(path)


# -- what is told of a posterior --------------------------------------------------------------------------------------


def quantities(model, found):
    """Moments of source counts, and the excess' share of the flux, (n, n_quantity), of what an NPTF finds."""
    log_flux = np.asarray(model.coordinates.flux_bin)
    photon, edges = -math.log10(float(model.exposure.mean())), np.asarray(model.scd_edges)
    columns = [moments(found["scd_cdf"][:, row], log_flux, edges, photon) for row in range(2)]
    return np.concatenate([*columns, found["flux_fraction"][:, [model.names.index("gce")]]], axis=1)


def moments(cdf, log_flux, edges, photon):
    """Mean and width of log F, and the flux of sources below one photon: (n, 3) of curves (n, n_bin)."""
    pdf = np.diff(cdf, axis=1, prepend=0.0)
    mean = pdf @ log_flux
    width = np.sqrt(np.maximum(pdf @ log_flux**2 - mean**2, 0.0))
    return np.stack([mean, width, np.array([np.interp(photon, edges[1:], each) for each in cdf])], axis=1)


def three(fits, truths, seed, laws=False):
    """What a file keeps of the posteriors of fits, by kind."""
    found = {}
    for kind, nptf in fits.items():
        since, target = time.process_time(), nptf.target
        if laws:
            sampler, target = ImportanceSampling(n_start=32), replace(target, refinement=None)
        else:
            sampler = ImportanceSampling(n_eff=100, batch=100) if kind == KINDS[0] else NestedSampling(n_eff=500)
        draws = sampler.sample(target, seed)
        rows, known = np.linspace(0, len(draws.u) - 1, 400).astype(int), draws.convergence
        nested = isinstance(known, NestedConvergence)
        drawn = nptf.quantities(nptf.from_cube(draws.u[rows]))
        told = {
            "truth": quantities(nptf.model, nptf.quantities(truths[kind][None]))[0],
            "draws": quantities(nptf.model, drawn).astype(np.float32),
            "curves": drawn["scd_cdf"].astype(np.float32),
            "ess": known.n_eff if nested else known.ess,
            "trust": (-np.inf if known.explored else np.inf) if nested else known.pareto_k,
            "seconds": time.process_time() - since,
        }
        found |= {f"{kind}/{key}": value for key, value in told.items()}
    return found


# -- mocks ------------------------------------------------------------------------------------------------------------


class StudySky:
    """A model of the study, and how its maps are drawn."""

    def __init__(self, n_energy, psf):
        self.model = sky(n_energy, **SKY)
        self.names, self.psf = self.model.prior().names, None if psf else NO_PSF
        self.simulator = gcesbi.Simulator(self.model)
        self.seen = self.simulator.observe(self.draw(0), seed=0)[0]

    def draw(self, seed):
        return self.model.prior().draw(1, np.random.default_rng([18, seed]))[0]

    def fit(self, counts, energies):
        seen = replace(self.seen, counts=counts)
        return NPTF(self.model, seen, ModelPriors(), energies=energies, psf=self.psf, workers=1)

    def own(self, nptf, theta):
        return theta[[self.names.index(name) for name in nptf.names]]

    def counts(self, theta, seed):
        """A map, by the simulator or from the law of the likelihood."""
        if self.psf is None:
            return self.simulator.observe(theta, seed=seed)[0].counts
        counts = self.seen.counts.copy()
        counts[0, 0] = MOST
        nptf = self.fit(counts, "joint")
        joint, own, rng = nptf.joint, self.own(nptf, theta), np.random.default_rng([19, seed])
        shares = joint.spectra.shares(own[None])
        smooth, norms = joint.norms(own[None], shares)
        c = joint.norm_shares(shares[0])
        at = joint._sources(own, shares[0], c, norms[0])
        drawn = rng.poisson(joint._mean(smooth[0][:, None] * c[joint.smooth_rows]))
        photons = np.arange(1, at.vectors.shape[1])
        for template, vector, splits in zip(at.templates, at.vectors, at.splits, strict=True):
            n = (rng.poisson(template[:, None] * np.maximum(vector[1:], 0.0)) * photons).sum(axis=1)
            drawn += rng.multinomial(n, splits)
        return drawn.T


def make_mocks(folder, psf, first, maps, laws):
    """A file for every map."""
    ten, one = StudySky(10, psf), StudySky(1, psf)
    for seed in range(first, first + maps):
        path = folder / f"{'psf' if psf else 'law'}-{seed:04d}.npz"
        if path.exists():
            continue
        drawn = seed + 1 + 1000 * psf
        theta = ten.draw(drawn)
        single = theta[[ten.names.index(name) for name in one.names]]
        counts = ten.counts(theta, drawn)
        fits = ten.fit(counts, "joint"), ten.fit(counts, "sum"), one.fit(one.counts(single, drawn), "sum")
        owners = zip(KINDS, fits, ((ten, theta), (ten, theta), (one, single)), strict=True)
        truths = {kind: of.own(nptf, values) for kind, nptf, (of, values) in owners}
        found = three(dict(zip(KINDS, fits, strict=True)), truths, seed, laws) | {
            "photons": np.array([counts.sum(), counts.sum(axis=0).max()])
        }
        _write(path, found)
        print(path.name, counts.sum(), "photons; " + _told(found), flush=True)


def _told(found):
    return ", ".join(
        f"{kind}: {found[f'{kind}/seconds']:.1f} s, {found[f'{kind}/trust']:.2f}, ESS {found[f'{kind}/ess']:.0f}"
        for kind in KINDS
        if f"{kind}/ess" in found
    )


# -- one large map, and the networks' own sky --------------------------------------------------------------------------


def make_large(folder):
    """Posterior of a map of 8,292 pixels; a run that was killed goes on."""
    model = gcesbi.SkyModel.preset(n_energy=10, nside=128, weeks=400.0, gce_populations=1)
    theta = model.prior().draw(1, np.random.default_rng(181))[0]
    seen = gcesbi.Simulator(model).observe(theta, seed=181)[0]
    nptf = NPTF(model, seen, ModelPriors(), energies="joint", workers=1)
    own, before = theta[[model.prior().names.index(name) for name in nptf.names]], time.process_time()
    found = nptf.run(ImportanceSampling(n_rounds=120), seed=1, checkpoint=folder / "large.h5")
    told = found.convergence
    print(
        f"{seen.counts.shape[1]} pixels, {seen.counts.sum(axis=0).mean():.1f} photons each, at most "
        f"{seen.counts.sum(axis=0).max()}; {time.process_time() - before:.0f} s of the processor here, "
        f"{found.n_evaluation} values, Pareto k {told.pareto_k:.2f}, ESS {told.ess:.0f}; {told.problems}"
    )
    names = ("scd_cdf", "spectrum_fraction", "flux_fraction", "n_sources")
    before, samples = nptf.quantities(own[None]), {name: found.samples[name] for name in names}
    kept = {f"truth/{name}": before[name][0] for name in names} | samples
    _write(
        folder / "large.npz",
        kept
        | {
            "theta": found.theta,
            "own": own,
            "trust": told.pareto_k,
            "ess": told.ess,
            "names": np.array(nptf.names),
            "edges": np.asarray(model.energy_edges),
        },
    )


def networks_of(model, summed):
    """The shipped source-count networks, and those of a run that sums energies."""
    runs = {"ten channels": RunFolder.shipped(model)} | ({"summed": RunFolder.open(summed, model)} if summed else {})
    return {name: run.network(SourceCountEstimator.kind, SourceCountEstimator) for name, run in runs.items()}


def make_pairs(folder, summed, maps):
    """Quantiles (n_map, n_level, 2, n_bin) of source counts by both networks of many maps, and the truth."""
    model = gcesbi.SkyModel.preset()
    networks, simulator, prior = networks_of(model, summed), gcesbi.Simulator(model), model.prior()
    rng, found = np.random.default_rng(21), {name: [] for name in ("truth", *networks)}
    for first in range(0, maps, PAIRS):
        drawn = simulator.draw(prior.draw(PAIRS, rng), rng)
        found["truth"].append(drawn.scd_cdf)
        for name, network in networks.items():
            curves = network.sample(drawn.counts, 400, first)
            found[name].append(np.quantile(curves, LEVELS, axis=0).swapaxes(0, 1).astype(np.float32))
    _write(folder / "pairs.npz", {name: np.concatenate(rows) for name, rows in found.items()})


def make_networks(folder, first, maps, summed, joint):
    """Answers of networks to maps of their own sky, and the likelihood's; a file gets what it lacks."""
    model = gcesbi.SkyModel.preset()
    networks = networks_of(model, summed)
    simulator, prior = gcesbi.Simulator(model), model.prior()
    for seed in range(first, first + maps):
        path = folder / f"network-{seed:04d}.npz"
        found = dict(np.load(path)) if path.exists() else {}
        if all(f"{name}/curves" in found for name in (*networks, *KINDS[: 1 if joint else 0])):
            continue
        theta = prior.draw(1, np.random.default_rng([20, seed]))[0]
        seen, labels = simulator.observe(theta, seed=seed)
        for name, network in networks.items():
            found[f"{name}/curves"] = network.sample(seen.counts[None], 400, seed)[:, 0].astype(np.float32)
        found["truth/curves"] = labels.scd_cdf[0]
        for kind, energies in zip(KINDS[:2], ("joint", "sum"), strict=True):
            if f"{kind}/curves" not in found and (joint or energies == "sum"):
                nptf = NPTF(model, seen, ModelPriors(), energies=energies, workers=1)
                own = theta[[prior.names.index(n) for n in nptf.names]]
                found |= three({kind: nptf}, {kind: own}, seed)
        _write(path, found)
        print(path.name, _told(found), flush=True)


def _write(path, kept):
    """All or nothing."""
    part = path.with_suffix(".part")
    with part.open("wb") as file:
        np.savez(file, **kept)
    part.replace(path)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("command", choices=("mocks", "large", "networks", "pairs"))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--psf", action="store_true")
    parser.add_argument("--laws", action="store_true")
    parser.add_argument("--maps", type=int, default=100)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--summed", type=Path)
    parser.add_argument("--joint", action="store_true")
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    given.folder.mkdir(parents=True, exist_ok=True)
    if given.command == "mocks":
        make_mocks(given.folder, given.psf, given.first, given.maps, given.laws)
    elif given.command == "large":
        make_large(given.folder)
    elif given.command == "pairs":
        make_pairs(given.folder, given.summed, given.maps)
    else:
        make_networks(given.folder, given.first, given.maps, given.summed, given.joint)


if __name__ == "__main__":
    main()
