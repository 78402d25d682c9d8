"""Evidence for point sources in the Galactic Centre above 4 GeV, with photon energies and without.

    python benchmarks/energies_real.py [--pixel 2] [--live 300] [--only without]

The data fermi-gc-4gev: seven bins from 4 to 20 GeV, PSF2 and PSF3 together, r < 4.8 degrees, in square pixels of some
tenths of a degree. Templates as published: gll_iem_v07 with a free norm and tilt, isotropic, 4FGL-DR2, and an NFW^2 of
slope 1.2, smooth and, or not, of point sources (a broken power law of counts), with one index of its spectrum.
Prints ln Z of four fits and the Bayes factors for point sources. "Without energies" is the same likelihood of every
pixel's number of photons alone, with the same parameters and priors.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import uniform_filter

from gcesbi import read_observation
from gcesbi.baselines import NestedSampling, poisson_log_likelihood
from gcesbi.baselines.nptf.energies import NptfEnergyLikelihood
from gcesbi.baselines.samplers.block_move import BlockMove
from gcesbi.baselines.samplers.target import Target
from gcesbi.io import read_catalogue, read_intensity_cube, read_isotropic_spectrum
from gcesbi.io.data.fetching import fetch
from gcesbi.physics.dark_matter import Annihilation, DarkMatterHalo
from gcesbi.physics.templates.nfw import NFW
from gcesbi.simulation.image_templates import ImageModel
from gcesbi.sky.observation import ObservationSet

PRIORS = {  # ends of flat priors; "log" ones are of log10
    "iem": (0.5, 1.5),
    "iem tilt": (-0.4, 0.4),
    "iso": (0.0, 12.0),
    "4FGL": (0.5, 1.5),
    "index": (1.01, 5.0),
    "smooth": (0.0, 4000.0),
    "points": (0.0, 4000.0),
    "n1": (2.05, 10.0),
    "n2": (-2.0, 1.95),
    "log S": (-0.5, 2.5),
}


def real_sky(width):
    """Counts (n_pix, 7) in coarse pixels, templates (4, n_pix, 7), PSFs, edges and exposure of bins."""
    folder = fetch("fermi-gc-4gev")
    parts = tuple(
        read_observation(
            folder / f"ccube_0{i}.fits",
            4.8,
            None,
            exposure=folder / f"psf_0{i}.fits",
            energy_range=(3.98, 19.96),
            event_type=f"PSF{i + 2}",
        )
        for i in (0, 1)
    )
    isotropic = {k: read_isotropic_spectrum(folder / f"iso_P8R3_CLEAN_V3_{k}_v1.txt") for k in ("PSF2", "PSF3")}
    emissions = {
        "iem": read_intensity_cube(folder / "gll_iem_v07_gc.fits.gz"),
        "iso": isotropic,
        "sources": read_catalogue(fetch("catalogs") / "gll_psc_v27.fit.gz"),
        "nfw": Annihilation(DarkMatterHalo(NFW(gamma=1.2))),
    }
    seen = ObservationSet(parts)
    model = ImageModel.build(seen, emissions)
    row, column = np.divmod(parts[0].region.pixels, parts[0].region.geometry.shape[1])
    place = np.unique((row // width) * 1000 + column // width, return_inverse=True)[1]
    whole = np.bincount(place) == width**2

    def coarse(values):
        both = values.reshape(len(values), len(parts), -1).sum(axis=1)
        return np.stack([np.bincount(place, each)[whole] for each in both], axis=1)

    counts = coarse(seen.counts).round().astype(int)
    templates = np.array([coarse(each) for each in model.templates])
    weights = [part.exposure.mean(axis=1) for part in parts]
    total = np.sum(weights, axis=0)
    psf = [[(part.psf[e], w[e] / total[e]) for part, w in zip(parts, weights, strict=True)] for e in range(7)]
    return counts, templates, psf, np.asarray(parts[0].energy_edges), total


def psf_table(psf, shares, pixel, cell=0.025, n_bin=40):
    """f and rho(f) df of square pixels (degrees), bins of equal light, with so much of a source in every energy bin."""
    half = np.arange(-4.0, 4.0, cell) + cell / 2
    theta = np.hypot(*np.meshgrid(half, half))
    light = sum(s * w * one.density(theta) for s, each in zip(shares, psf, strict=True) for one, w in each)
    light /= light.sum()
    n = round(pixel / cell)
    f = np.sort(uniform_filter(light, n, mode="constant").ravel() * n**2)[::-1]
    group = np.minimum((np.cumsum(f) / f.sum() * n_bin).astype(int), n_bin - 1)
    used, per_cell = np.unique(group), 1.0 / n**2
    mean = np.array([np.sum(f[group == g] ** 2) / np.sum(f[group == g]) for g in used])
    rho = np.array([np.sum(f[group == g]) for g in used]) * per_cell / mean
    return mean, rho / np.sum(mean * rho)


@dataclass
class Fit:
    """ln L of one kind of fit over the unit cube."""

    likelihood: NptfEnergyLikelihood
    templates: np.ndarray
    edges: np.ndarray
    exposure: np.ndarray
    names: tuple[str, ...]
    energies: bool

    def theta(self, u):
        low, high = np.array([PRIORS[name] for name in self.names]).T
        return dict(zip(self.names, low + (high - low) * u, strict=True))

    def value(self, u):
        theta = self.theta(u)
        energy, fall = np.sqrt(self.edges[1:] * self.edges[:-1]), 1.0 - theta["index"]
        iem, iso, known, nfw = self.templates
        bent = nfw / nfw.sum(axis=0) * self.exposure * -np.diff(self.edges**fall)
        bent = bent / bent.sum()
        mean = theta["iem"] * iem * (energy / 8.0) ** theta["iem tilt"] + theta["iso"] * iso + theta["4FGL"] * known
        mean = mean + theta["smooth"] * bent
        summed = bent.sum(axis=1)
        if "points" not in theta:
            counts = self.likelihood.map.counts
            return poisson_log_likelihood(*((a if self.energies else a.sum(axis=1)) for a in (counts, mean)))
        n1, n2, s = theta["n1"], theta["n2"], 10 ** theta["log S"]
        norm = theta["points"] / (s**2 * (1 / (n1 - 2) + 1 / (2 - n2)))
        return self.likelihood(mean, [np.array([norm, n1, n2, s])], (bent / summed[:, None])[None])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pixel", type=int, default=2)
    parser.add_argument("--live", type=int, default=300)
    parser.add_argument("--only", choices=("with energies", "without"))
    given = parser.parse_args()
    counts, templates, psf, edges, exposure = real_sky(given.pixel)
    share = templates[3].sum(axis=0) / templates[3].sum()
    table = psf_table(psf, share, given.pixel / 10)
    spread = [psf_table(psf, np.eye(7)[e], given.pixel / 10)[0].max() for e in (0, 6)]
    print(
        f"{len(counts)} pixels, {counts.sum()} photons, at most {counts.sum(axis=1).max()}; largest share of a source "
        f"in a pixel {table[0].max():.2f} ({spread[0]:.2f} in the lowest bin, {spread[1]:.2f} in the highest)"
    )
    spatial = templates[3].sum(axis=1)
    for kind, limit in (("with energies", None), ("without", 0)):
        if given.only not in (None, kind):
            continue
        found = {}
        likelihood = NptfEnergyLikelihood.build(counts, spatial[None] / spatial.sum(), *table, 1, limit)
        for sources, n in (("smooth alone", 6), ("points too", 10)):
            fit = Fit(likelihood, templates, edges, exposure, tuple(PRIORS)[:n], limit is None)
            walls = np.array([[0.0, 1.0]]).repeat(n, axis=0)
            target = Target(
                fit.names, lambda u, fit=fit: np.array([fit.value(x) for x in u]), BlockMove([np.arange(n)], walls)
            )
            told = NestedSampling(n_live=given.live, n_eff=1000).sample(target, 1)
            theta = np.array([list(fit.theta(u).values()) for u in told.u])
            found[sources] = (told.log_evidence, told.log_evidence_error)
            print(
                f"\n{kind}, {sources}: ln Z = {told.log_evidence:.2f} ± {told.log_evidence_error:.2f}, "
                f"best ln L = {told.log_likelihood.max():.2f}, {told.n_evaluation} values"
            )
            for name, column in zip(fit.names, theta.T, strict=True):
                low, middle, high = np.quantile(column, [0.16, 0.5, 0.84])
                print(f"  {name}: {middle:.3g} ({low:.3g} to {high:.3g})")
        (one, its), (other, error) = found["points too"], found["smooth alone"]
        print(f"\n{kind}: ln of the Bayes factor for point sources {one - other:.2f} ± {np.hypot(its, error):.2f}")


if __name__ == "__main__":
    main()
