"""The simulator: parameters in, counts maps and labels out, seeded.

Maps are drawn in *shards* of :data:`SHARD` maps. Shard k draws parameters and photons from child k of
``numpy.random.SeedSequence(seed)``: what is drawn depends on neither the number of workers nor the number of maps asked
for, and map i is the same in every sample of the same seed.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import cached_property
from itertools import pairwise, repeat
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from tqdm.auto import tqdm

from gcesbi.errors import InputError, checked_seed, whole_number
from gcesbi.simulation import kernels
from gcesbi.simulation.draws import alias_table
from gcesbi.simulation.expected import expected_sources
from gcesbi.simulation.instrument_errors import draw_exposures
from gcesbi.simulation.model import SkyModel
from gcesbi.simulation.parameters import Emission
from gcesbi.simulation.simulations import Simulations
from gcesbi.sky.observation import Observation, RadialPSF

__all__ = ["SHARD", "Simulator", "displacements", "smallest_counts"]

SHARD = 128
_AT_ONCE = 32  # maps whose log-fields are drawn together
_N_TABLE = 2049
_N_CLASS = 6
_REACH = (0.3, 0.1, 0.03, 0.01)  # where zones outside the region meet


def smallest_counts(counts: NDArray[np.integer]) -> NDArray[np.unsignedinteger]:
    """Counts in the smallest unsigned integer type that holds them all."""
    largest = int(counts.max(initial=0))
    return counts.astype(np.min_scalar_type(largest), copy=False)


def displacements(psf: Sequence[RadialPSF], n: int) -> NDArray[np.float64]:
    """Angles (n_energy, n), radians, beyond which shares (1 - i / (n - 1))² of the light lie."""
    share = (1 - np.arange(n) / (n - 1)) ** 2
    return np.radians([each.containment_radius(1 - share) for each in psf])


class Simulator:
    """Draws maps from a model; exact (see :mod:`gcesbi.simulation.kernels` for the law).

    Parameters
    ----------
    model : SkyModel

    Examples
    --------
    >>> from gcesbi import SkyModel, Simulator
    >>> simulator = Simulator(SkyModel.preset("inner-galaxy", nside=16, n_energy=2))
    >>> simulator.sample(3, seed=1).counts.shape[:2]
    (3, 2)
    """

    draws: ClassVar[int] = kernels.DRAWS

    def __init__(self, model: SkyModel) -> None:
        self.model = model
        self._resolved = None if model.resolved is None else Simulator(model.resolved)

    # -- drawing ------------------------------------------------------------------------------------------------

    def __call__(self, theta: torch.Tensor) -> torch.Tensor:
        """`sbi`'s convention: parameters (batch, n_parameter) to counts (batch, n_energy, n_pix), float32.

        Seeded by torch's generator: ``torch.manual_seed`` makes it reproducible.
        """
        theta = torch.atleast_2d(torch.as_tensor(theta))
        seed = int(torch.randint(2**62, (), device="cpu"))
        drawn = self.draw(theta.detach().cpu().double().numpy(), np.random.default_rng(seed))
        return torch.as_tensor(drawn.counts.astype(np.float32))

    def draw(self, theta: NDArray[np.float64], rng: np.random.Generator) -> Simulations:
        """Draw one map for each parameter vector (n, n_parameter).

        Raises
        ------
        InputError
            If theta has another shape or is not finite.
        """
        if self._resolved is not None:
            return _sum_energies(self._resolved.draw(theta, rng))
        model = self.model
        _check_memory(len(theta), model)
        emission = model.emission(theta, rng)
        n, n_source = len(theta), len(model.point_sources)
        counts = np.zeros((n, model.n_energy, model.region.n_pix), dtype=np.uint8)
        drawn = np.empty(counts.shape[1:], dtype=np.int32)
        label = np.zeros((n, n_source, len(model.bins)))
        n_sources = np.zeros((n, n_source))
        exposed = draw_exposures(model.composition.exposure_error, n, rng)
        through = rng.integers(len(self._through), size=n) if len(self._through) > 1 else np.zeros(n, dtype=np.int64)
        for i, further in enumerate(self._modulated(emission, through, rng)):
            drawn[:] = 0
            self._through[through[i]]._draw_one(rng, emission, i, exposed[i], further, drawn, label[i], n_sources[i])
            kept = smallest_counts(drawn)
            counts = counts.astype(np.promote_types(counts.dtype, kept.dtype), copy=False)
            counts[i] = kept
        if model.expected_labels:
            label, n_sources = expected_sources(model, emission)
        label[:, :, 0] += emission.poisson  # the limit of ever dimmer sources
        flux = model.flux(emission, label.sum(axis=-1))
        total = label.sum(axis=-1, keepdims=True)
        scd = np.divide(label, total, out=np.zeros_like(label), where=total > 0)
        scd[total[..., 0] == 0, 0] = 1.0  # no source at all: as dim as can be
        return Simulations(np.array(theta, dtype=np.float64), counts, flux, scd, n_sources)

    def shard(self, k: int, seed: int) -> Simulations:
        """Shard `k` of a sample: :data:`SHARD` maps with parameters from the prior."""
        rng = np.random.default_rng(np.random.SeedSequence(checked_seed(seed), spawn_key=(k,)))
        return self.draw(self.model.prior().draw(SHARD, rng), rng)

    def shards(self, n: int, seed: int, workers: int = 1) -> Iterator[Simulations]:
        """Yield the shards that hold `n` maps, in order, the last one cut; `workers` threads draw ahead."""
        if n < 1:
            raise InputError(f"n: must be at least 1, got {n}")
        if workers < 1:
            raise InputError(f"workers: must be at least 1, got {workers}")
        n_shard = -(-n // SHARD)
        with ThreadPoolExecutor(workers) as pool:
            pending = [pool.submit(self.shard, k, seed) for k in range(min(workers, n_shard))]
            for k in range(n_shard):
                done = pending.pop(0).result()
                if k + workers < n_shard:
                    pending.append(pool.submit(self.shard, k + workers, seed))
                yield done[: n - k * SHARD]

    def sample(self, n: int, seed: int = 0, workers: int = 1, progress: bool = False) -> Simulations:
        """Draw `n` maps with parameters from the prior.

        Parameters
        ----------
        n : int
        seed : int
            Same seed, same maps, whatever `workers`; the first maps of a larger sample are those of a smaller one.
        workers : int
            Threads (the kernels release the interpreter's lock).
        progress : bool
            Show a progress bar.

        Raises
        ------
        InputError
            If `n` is below 1, or more than the machine's memory can hold (:class:`gcesbi.SimulationStore` writes them).
        """
        n = whole_number(n, "n", 1)
        _check_memory(n, self.model)
        self.prepare()
        parts = []
        with tqdm(total=n, desc="simulating maps", unit="map", disable=not progress) as bar:
            for part in self.shards(n, seed, workers):
                parts.append(part)
                bar.update(len(part))
        return Simulations.concatenate(parts)

    def observe(self, theta: NDArray[np.float64], seed: int = 0) -> tuple[Observation, Simulations]:
        """Draw one mock observation of parameters (n_parameter,), with its labels (a batch of one)."""
        rng = np.random.default_rng(checked_seed(seed))
        drawn = self.draw(np.atleast_2d(np.asarray(theta, dtype=np.float64)), rng)
        model = self.model
        return Observation(drawn.counts[0], model.exposure, model.energy_edges, model.region, model.psf), drawn

    def prepare(self) -> None:
        """Compute what the kernels need; call it once before several threads draw."""
        if self._resolved is not None:
            self._resolved.prepare()
        else:
            for each in self._through:
                each.sky, each._smooth_templates  # noqa: B018

    # -- what the kernels need ----------------------------------------------------------------------------------

    @cached_property
    def _through(self) -> tuple[Simulator, ...]:
        """The same sky through PSFs of all widths that may be; itself where the width is known."""
        factors = self.model.composition.psf_factors
        return tuple(self if factor == 1 else Simulator(self.model.widened(factor)) for factor in factors)

    @cached_property
    def sky(self) -> kernels.Sky:
        """Pixels, exposure and PSF in the kernels' form."""
        model = self.model
        radii = displacements(model.psf, _N_TABLE)
        return kernels.Sky(
            nside=model.patch.nside,
            frame=model.patch.frame,
            where=model.patch.where,
            landing=model.patch.landing(model.region),
            effective=np.ascontiguousarray((model.patch_exposure * self._reach).T),
            reach=np.ascontiguousarray(self._reach.T),
            drop=2 * np.sin(radii / 2) ** 2,
            low=model.bins.low,
            width=model.bins.width,
        )

    @cached_property
    def sources(self) -> tuple[kernels.Source, ...]:
        """Positions of sources in the kernels' form, for every map of every template's basis."""
        model = self.model
        intensity = np.concatenate([t.intensity for t in model.point_source_templates])
        landing = self._landing(intensity)
        return tuple(
            _source(each, self._zones, model.patch_exposure, landing[:, :, j]) for j, each in enumerate(intensity)
        )

    @cached_property
    def _zones(self) -> tuple[NDArray[np.int64], ...]:
        """The region's pixels, and those outside whose photons may land in it, in zones of falling reach."""
        reach = self._reach.max(axis=0)
        reach[self.model.inside] = 0.0
        zones = [np.flatnonzero((low < reach) & (reach <= high)) for high, low in pairwise([1.0, *_REACH, 0.0])]
        return self.model.inside, *(zone for zone in zones if len(zone))

    def _landing(self, intensity: NDArray[np.float64]) -> NDArray[np.float64]:
        """Where photons land, per flux, from every zone: (n_energy, n_zone, n_source, n_pix)."""
        model = self.model
        where = np.zeros((len(self._zones), 1, len(model.patch)))
        for mask, pixels in zip(where, self._zones, strict=True):
            mask[:, pixels] = 1.0
        share = intensity / intensity[:, model.inside].sum(axis=1, keepdims=True)
        parts = (where * share).reshape(-1, len(model.patch))
        spread = np.stack(
            [model.patch.smooth(parts * e, psf) for e, psf in zip(model.patch_exposure, model.psf, strict=True)]
        )
        return spread[..., model.inside].reshape(model.n_energy, len(where), len(share), -1)

    @cached_property
    def _smooth_templates(self) -> NDArray[np.float64]:
        """Smooth templates, then single photons of every source template and zone outside, (n_map, n_energy, n_pix)."""
        return np.concatenate([self.model.smooth_templates, *(source.beyond for source in self.sources)])

    @cached_property
    def _reach(self) -> NDArray[np.float64]:
        """Probability (n_energy, n_patch) that a photon is displaced as far as the region's nearest pixel."""
        model, patch = self.model, self.model.patch
        outside = np.setdiff1d(np.arange(len(model.patch)), model.inside)
        border = cKDTree(patch.outlines(model.inside).reshape(-1, 3))
        chord, _ = border.query(patch.outlines(outside))
        distance = 2 * np.arcsin(np.clip(chord.min(axis=1) / 2, 0, 1)) - patch.gap
        reach = np.ones((model.n_energy, len(model.patch)))
        distance = np.degrees(np.maximum(distance, 0))
        reach[:, outside] = np.stack([1 - psf.containment(distance) for psf in model.psf])
        return reach

    def _modulated(
        self, emission: Emission, through: NDArray[np.int64], rng: np.random.Generator
    ) -> Iterator[NDArray[np.float64]]:
        """Of every map, expected counts (n_energy, n_pix) of smooth templates with log-fields, which are drawn."""
        n, model = len(through), self.model
        drawn = np.zeros((_AT_ONCE, model.n_energy, model.region.n_pix))
        if not model.modulated:
            yield from repeat(drawn[0], n)
            return
        for first in range(0, n, _AT_ONCE):
            rows = np.arange(first, min(first + _AT_ONCE, n))
            for k in np.unique(through[rows]):
                mine = rows[through[rows] == k]
                drawn[mine - first] = self._through[k].model.modulated_counts(emission[mine], rng)
            yield from drawn[: len(rows)]

    def _draw_one(
        self,
        rng: np.random.Generator,
        emission: Emission,
        i: int,
        exposed: float,
        further: NDArray[np.float64],
        counts: NDArray[np.int32],
        label: NDArray[np.float64],
        n_sources: NDArray[np.float64],
    ) -> None:
        model, n_smooth = self.model, emission.norms.shape[1]
        norms = np.zeros((len(self._smooth_templates), model.n_energy))
        norms[:n_smooth] = emission.norms[i] * model.steady * exposed
        beyond = norms[n_smooth:].reshape(len(self.sources), -1, model.n_energy)
        sources = [each._replace(classes=each.classes * exposed) for each in self.sources]
        first_source = np.cumsum([0, *(len(t.basis) for t in model.point_source_templates)])
        spectra = emission.spectra[i, len(model.diffuse) :]
        strengths = [self.sky.effective @ spectrum * exposed for spectrum in spectra]
        for drawn in emission.populations:
            j, flux = drawn.template, drawn.flux[i]
            if flux <= 0:
                continue
            nodes = drawn.family.nodes(drawn.shape[i], model.flux_cut)
            for b in np.flatnonzero(drawn.weights[i]):
                s = first_source[j] + b
                number, _, _, singles = kernels.draw_population(
                    rng,
                    self.sky,
                    sources[s],
                    strengths[j],
                    *nodes,
                    flux * drawn.weights[i, b],
                    spectra[j],
                    counts,
                    label[j],
                )
                n_sources[j] += number
                beyond[s] += singles[:, None] * spectra[j] * exposed
        kernels.draw_poisson(rng, norms, self._smooth_templates, further * exposed, counts)


def _sum_energies(drawn: Simulations) -> Simulations:
    """The same maps and labels with all energies in one bin."""
    counts = smallest_counts(drawn.counts.sum(axis=1, keepdims=True, dtype=np.int64))
    return replace(drawn, counts=counts, flux=drawn.flux.sum(axis=-1, keepdims=True))


def _source(
    intensity: NDArray[np.float64],
    zones: tuple[NDArray[np.int64], ...],
    exposure: NDArray[np.float64],
    spread: NDArray[np.float64],
) -> kernels.Source:
    inside, landing = zones[0], spread[:, 0]
    total = intensity[inside].sum()
    mean_exposure = exposure[:, inside] @ intensity[inside] / total
    lost = np.maximum(mean_exposure - landing.sum(axis=1), 0.0)
    arrivals = [alias_table(np.append(each, rest)) for each, rest in zip(landing, lost, strict=True)]
    places = [alias_table(intensity[zone]) for zone in zones]
    order = inside[np.argsort(exposure[:, inside].sum(axis=0))]
    groups = [group for group in np.array_split(order, _N_CLASS) if intensity[group].sum() > 0]
    return kernels.Source(
        pixels=np.concatenate(zones),
        zones=np.cumsum([0, *map(len, zones)]),
        share=np.array([intensity[zone].sum() / total for zone in zones]),
        chance=np.concatenate([chance for chance, _ in places]),
        either=np.concatenate([either for _, either in places]),
        classes=np.stack([np.average(exposure[:, g], axis=1, weights=intensity[g]) for g in groups]),
        weights=np.array([intensity[g].sum() / total for g in groups]),
        mean_exposure=mean_exposure,
        landing_chance=np.stack([chance for chance, _ in arrivals]),
        landing_either=np.stack([either for _, either in arrivals]),
        beyond=np.ascontiguousarray(np.swapaxes(spread[:, 1:], 0, 1)),
    )


def _check_memory(n: int, model: SkyModel) -> None:
    """Raise InputError where the machine's whole memory cannot hold `n` maps of one byte a pixel and their labels."""
    labels = 8 * (len(model.prior().names) + len(model.point_sources) * len(model.bins))
    needed, memory = n * (model.exposure.size + labels), os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if needed > memory:
        raise InputError(
            f"n: {n} maps take at least {needed // 10**9} GB of memory, there are {memory // 10**9}; a "
            "SimulationStore writes them to a disk"
        )
