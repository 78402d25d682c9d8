r"""The simulator on a device: whole shards of maps as tensors, for a GPU that trains on them.

The law is that of :mod:`gcesbi.simulation.kernels`; the generator is another, and so are the bytes. Nothing is looped
over, hence sources are drawn in a way that suits arrays: *one candidate for every expected photon*.

**Candidates.** Sources with photons are a Poisson process with rate N f(x) t_p (1 - e^-μ) in log-flux x and pixel p, in
which μ = F Σ_e s_e ε_e r_e(p) is linear in the flux F = 10ˣ. It is the process with rate

.. math:: N f(x)\, F\, t_p \sum_e s_e\, ε_e r_e(p)

of (source, photon of bin e), of which a candidate is kept with probability (1 - e^-μ) / μ. The rate factorises: the
number of candidates of a population with a first photon in bin e is Poisson with mean F_tot s_e Q_e, Q_e = Σ_p t_p ε_e
r_e(p); their flux follows 10ˣ f(x); their pixel follows t_p ε_e r_e(p), a table that no parameter changes. A kept
source has one photon, of bin e, and k - 1 ~ Poisson(μ - T) more, T being the first arrival given that there is one:
exponential and below μ. Their bins are drawn from s_e ε_e r_e(p).

**Photons** start evenly within the pixel, are displaced by the PSF beyond the region's distance, and are counted where
they land. **Labels**: sources without a photon as in the compiled simulator, bin by bin.

**Log-fields** of smooth templates are drawn on the host.

Fluxes and their integrals are float64, directions float32 (10⁻⁴ of a pixel at nside 256).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gcesbi.errors import InputError
from gcesbi.physics.skew_normal import SMALLEST_OMEGA2
from gcesbi.simulation.kernels import N_EXPLICIT, N_NODE
from gcesbi.simulation.parameters import Emission, SourceDraw
from gcesbi.simulation.piecewise_linear import Curves
from gcesbi.simulation.population_families import SkewNormalPopulation
from gcesbi.simulation.simulator import SHARD, Simulator
from gcesbi.simulation.torch_maps import FRESH, MapTensors, cut_batches
from gcesbi.sky import Region
from gcesbi.sky.healpix_torch import displace, pixel_of, position_in

__all__ = ["DeviceSimulator", "device_batches"]

LN10 = math.log(10.0)
_PHOTONS_AT_ONCE = 2**22
_CELLS_AT_ONCE = 2**26
_LARGE = 2.0**24  # a Poisson variable of a larger mean is as good as normal; CUDA's overflows beyond 2³²


@dataclass(frozen=True, eq=False)
class _Template:
    """Where the sources of one template lie: pixels that reach the region.

    ``share`` (n_energy,): Q_e. ``upto`` (n_energy · n_reach,): cumulative t ε r over those pixels, normalised for each
    e, plus e. ``weights`` (n_class,), ``classes`` (n_class, n_energy): shares of t, and exposures, inside the region.
    """

    share: Tensor
    upto: Tensor
    weights: Tensor
    classes: Tensor


@dataclass(frozen=True, eq=False)
class _Populations:
    """All populations of a chunk of maps, in rows: one for each map of the basis that has a share of the flux.

    ``map``, ``template``, ``source`` (n_row,): whose they are, and where they lie. ``flux`` (n_row,): total.
    ``spectrum`` (n_row, n_energy).
    ``density`` (n_row, n_node): sources per log-flux; ``node_flux``: of the nodes. ``first``, ``step`` (n_row, 1).
    """

    map: Tensor
    template: Tensor
    source: Tensor
    flux: Tensor
    spectrum: Tensor
    density: Tensor
    node_flux: Tensor
    first: Tensor
    step: Tensor

    def curves(self, values: Tensor) -> Curves:
        return Curves.of(self.first, self.step, values)


@dataclass(frozen=True, eq=False)
class _Drawn:
    """What a chunk of maps gathers: counts (n, n_energy, n_pix), label (n, n_source, n_bin), n_sources."""

    counts: Tensor
    label: Tensor
    n_sources: Tensor


class DeviceSimulator:
    """Draws maps from a simulator's model on a device, many at a time.

    Parameters
    ----------
    simulator : Simulator
    device : str or torch.device

    Examples
    --------
    >>> import numpy as np, torch
    >>> from gcesbi import SkyModel, Simulator
    >>> simulator = Simulator(SkyModel.preset("inner-galaxy", nside=16, n_energy=2))
    >>> theta = simulator.model.prior().draw(3, np.random.default_rng(1))
    >>> DeviceSimulator(simulator, "cpu").draw(theta, torch.Generator().manual_seed(1)).counts.shape[:2]
    torch.Size([3, 2])
    """

    def __init__(self, simulator: Simulator, device: str | torch.device = "cpu") -> None:
        self.device = torch.device(device)
        self.model = model = simulator.model
        if not isinstance(model.region, Region):
            raise InputError(f"simulator: must draw HEALPix maps to draw on a device, draws {model.region}")
        for error in ("exposure_error", "psf_error"):
            if getattr(model.composition, error):
                raise InputError(f"{error}: is drawn by the simulator on the processor only, not on a device")
        if model.resolved is not None:
            self._resolved: DeviceSimulator | None = DeviceSimulator(Simulator(model.resolved), device)
            return
        self._resolved, sky = None, simulator.sky
        reaching = np.flatnonzero(sky.reach.max(axis=1) > 0)
        inside = np.isin(reaching, model.inside)
        self._inside, self._where = self._put(inside), self._put(sky.where[reaching])
        self._landing = self._put(sky.landing.astype(np.int64))
        self._effective = self._put(sky.effective[reaching])
        self._reach, self._drop = self._put(sky.reach[reaching].astype(np.float32)), self._put(sky.drop).float()
        self._edges = sky.low + sky.width * torch.arange(len(model.bins) - 1, dtype=torch.float64, device=self.device)
        self._sky = sky
        intensity = np.concatenate([each.intensity for each in model.point_source_templates])
        self._templates = [
            self._template(each, source.weights, source.classes, reaching)
            for each, source in zip(intensity, simulator.sources, strict=True)
        ]
        self._smooth = self._put(np.moveaxis(model.smooth_templates, 0, 1).astype(np.float32))
        self._steady = self._put(model.steady.astype(np.float32))
        self._first_source = np.cumsum([0, *(len(each.basis) for each in model.point_source_templates)])

    def draw(self, theta: NDArray[np.float64], generator: torch.Generator) -> MapTensors:
        """Draw one map for each parameter vector (n, n_parameter).

        Parameters
        ----------
        theta : array (n, n_parameter)
        generator : torch.Generator
            On the simulator's device. Same state, same maps, on the same kind of device.

        Returns
        -------
        MapTensors
            On the device, float32.

        Raises
        ------
        InputError
            If theta has another shape or is not finite, or the generator lies on another device.
        """
        if generator.device.type != self.device.type:
            raise InputError(f"generator: must lie on the device {self.device}, got {generator.device}")
        if self._resolved is not None:
            drawn = self._resolved.draw(theta, generator)
            return drawn._replace(
                counts=drawn.counts.sum(dim=1, keepdim=True), flux=drawn.flux.sum(dim=-1, keepdim=True)
            )
        emission = self.model.emission(theta, self._scatter(generator))
        parts = [self._draw(emission, rows, generator) for rows in self._chunks(emission)]
        counts, flux, scd, n_sources = (torch.cat(each) for each in zip(*parts, strict=True))
        return MapTensors(self._put(np.asarray(theta)).float(), counts, flux, scd, n_sources)

    # -- tables -------------------------------------------------------------------------------------------------

    def _put(self, values: NDArray) -> Tensor:
        return torch.from_numpy(np.array(values)).to(self.device)

    def _template(
        self, intensity: NDArray, weights: NDArray, classes: NDArray, reaching: NDArray[np.int64]
    ) -> _Template:
        share = intensity[reaching] / intensity[self.model.inside].sum()
        upto = np.cumsum(share * self._sky.effective[reaching].T, axis=1)
        total = upto[:, -1:]
        numbered = upto / total + np.arange(len(upto))[:, None]
        return _Template(*map(self._put, (total[:, 0], numbered.ravel(), weights, classes)))

    def _scatter(self, generator: torch.Generator) -> np.random.Generator:
        """Generator of what scatters about the parameters, seeded by the device's."""
        seed = torch.randint(2**62, (), generator=generator, device=self.device)
        return np.random.default_rng(int(seed))

    def _chunks(self, emission: Emission) -> Iterator[slice]:
        """Consecutive maps whose expected photons, and pixels, fit into memory together."""
        n = len(emission.norms)
        exposure = max(float(each.share.max()) for each in self._templates)
        photons = np.sum([each.flux for each in emission.populations], axis=0) * exposure
        cells = self.model.n_energy * max(self.model.region.n_pix, len(self._where))
        cost = photons / _PHOTONS_AT_ONCE + cells / _CELLS_AT_ONCE
        group = np.floor(np.cumsum(cost)).astype(np.int64)
        bounds = [0, *(np.flatnonzero(np.diff(group)) + 1), n]
        return (slice(a, b) for a, b in pairwise(bounds))

    # -- drawing ------------------------------------------------------------------------------------------------

    def _draw(self, emission: Emission, rows: slice, generator: torch.Generator) -> tuple[Tensor, ...]:
        """Counts, flux, SCD and numbers of sources of a chunk of maps."""
        model, part = self.model, emission[rows]
        norms, spectra = self._put(part.norms), self._put(part.spectra)
        n, n_source = len(norms), len(model.point_source_templates)
        mean = torch.einsum("nte,etp->nep", norms.float() * self._steady, self._smooth)
        if model.modulated:
            mean += self._put(model.modulated_counts(part, self._scatter(generator)).astype(np.float32))
        counts = torch.poisson(mean, generator=generator)
        label = torch.zeros(n, n_source, len(model.bins), dtype=torch.float64, device=self.device)
        drawn = _Drawn(counts, label, torch.zeros(n, n_source, dtype=torch.float64, device=self.device))
        populations = self._populations(part.populations, spectra[:, len(model.diffuse) :])
        if model.expected_labels:
            self._expect(populations, drawn)
        else:
            self._draw_unseen(populations, drawn, generator)
        self._draw_seen(populations, drawn, generator)
        label[:, :, 0] += self._put(part.poisson)  # the limit of ever dimmer sources
        total = label.sum(dim=-1, keepdim=True)
        flux = self._put(model.flux(part, total[:, :, 0].cpu().numpy()))
        scd = label / total.clamp_min(torch.finfo(total.dtype).tiny)
        scd[..., :1] += (total == 0).double()  # no source at all: as dim as can be
        return counts, flux.float(), scd.float(), drawn.n_sources.float()

    def _populations(self, drawn: Sequence[SourceDraw], spectra: Tensor) -> _Populations:
        """Rows of populations, for spectra (n, n_source, n_energy); none for a flux of zero."""
        cut, parts = self.model.flux_cut, []
        for each in drawn:
            at, basis = np.nonzero(each.weights * each.flux[:, None] > 0)
            if isinstance(each.family, SkewNormalPopulation):
                first, step, density = self._skew_normals(each.shape[at], cut)
            else:
                nodes = [each.family.nodes(shape, cut) for shape in each.shape[at]]
                first, step = (self._put(np.array([node[i] for node in nodes], dtype=float))[:, None] for i in (0, 1))
                density = self._put(np.array([node[2] for node in nodes], dtype=float).reshape(-1, N_NODE))
            owner = np.full(len(at), each.template)
            light = each.flux[at] * each.weights[at, basis]
            parts.append((*map(self._put, (at, owner, self._first_source[owner] + basis, light)), first, step, density))
        row, template, source, flux, first, step, density = (torch.cat(column) for column in zip(*parts, strict=True))
        node_flux = torch.exp((first + step * torch.arange(N_NODE, dtype=torch.float64, device=self.device)) * LN10)
        density = density * (flux[:, None] / Curves.of(first, step, density * node_flux).total[:, -1:])
        return _Populations(row, template, source, flux, spectra[row, template], density, node_flux, first, step)

    def _skew_normals(self, shape: NDArray, cut: float) -> tuple[Tensor, Tensor, Tensor]:
        """First node, step and density of skew normals (n, 3), all at once."""
        xi, omega2, a = self._put(shape).T[:, :, None]
        omega = omega2.clamp_min(SMALLEST_OMEGA2).sqrt()
        top = (xi + omega * (9 + omega * LN10)).clamp_max(cut)
        first = torch.minimum(xi, top) - 9 * omega
        step = (top - first) / (N_NODE - 1)
        z = (first + step * torch.arange(N_NODE, dtype=torch.float64, device=self.device) - xi) / omega
        return first, step, torch.exp(-0.5 * z * z) * torch.special.erfc(-a * z / math.sqrt(2))

    def _expect(self, rows: _Populations, drawn: _Drawn) -> None:
        """Set label and number to what the parameters mean, whatever is drawn."""
        flux, number = (rows.curves(each) for each in (rows.density * rows.node_flux, rows.density))
        mean = _differences(flux.below(self._edges), flux.total[:, -1:])
        drawn.label.index_put_((rows.map, rows.template), mean, accumulate=True)
        drawn.n_sources.index_put_((rows.map, rows.template), number.total[:, -1], accumulate=True)

    def _draw_unseen(self, rows: _Populations, drawn: _Drawn, generator: torch.Generator) -> None:
        """Add to label and number the sources inside the region that give no photon."""
        unseen = rows.density * self._missed(rows)
        curves = rows.curves(unseen)
        number, flux, flux2 = (
            _differences(each.below(self._edges), each.total[:, -1:])
            for each in (curves, rows.curves(unseen * rows.node_flux), rows.curves(unseen * rows.node_flux**2))
        )
        n = _poisson(number, generator)
        mean = flux / number.clamp_min(1e-300)
        spread = torch.sqrt((flux2 / number.clamp_min(1e-300) - mean * mean).clamp_min(0) * n)
        noise = torch.randn(n.shape, dtype=n.dtype, device=self.device, generator=generator)
        many = torch.where(n > N_EXPLICIT, (n * mean + spread * noise).clamp_min(0), 0.0)
        cell = torch.repeat_interleave((n * (n <= N_EXPLICIT)).view(-1).long())
        row = cell // n.shape[1]
        before = torch.cat([torch.zeros_like(rows.step), curves.below(self._edges)], dim=1).view(-1)
        x = curves.draw(row, before[cell] + self._uniform(len(cell), generator, torch.float64) * number.view(-1)[cell])
        many.view(-1).index_add_(0, cell, torch.exp(x * LN10))
        drawn.label.index_put_((rows.map, rows.template), many, accumulate=True)
        drawn.n_sources.index_put_((rows.map, rows.template), n.sum(dim=1), accumulate=True)

    def _missed(self, rows: _Populations) -> Tensor:
        """Probability (n_row, n_node) that a source inside the region gives no photon."""
        missed = torch.empty_like(rows.density)
        for j, template in enumerate(self._templates):
            mine = rows.source == j
            exposed = rows.spectrum[mine] @ template.classes.T
            missed[mine] = torch.exp(-rows.node_flux[mine, :, None] * exposed[:, None]) @ template.weights
        return missed

    def _draw_seen(self, rows: _Populations, drawn: _Drawn, generator: torch.Generator) -> None:
        """Add sources that give photons: these to the counts, those inside the region to label and number."""
        row, energy, pixel = self._candidates(rows, generator)
        curves = rows.curves(rows.density * rows.node_flux)
        target = self._uniform(len(row), generator, torch.float64) * curves.total[row, -1]
        x = curves.draw(row, target)
        mean = torch.exp(x * LN10) * (rows.spectrum @ self._effective.T)[row, pixel]
        seen = -torch.expm1(-mean)
        kept = self._uniform(len(row), generator, torch.float64) * mean < seen
        row, energy, pixel, x, mean, seen = (each[kept] for each in (row, energy, pixel, x, mean, seen))
        arrival = -torch.log1p(-self._uniform(len(row), generator, torch.float64) * seen)
        more = _poisson((mean - arrival).clamp_min(0), generator).long()
        if not self.model.expected_labels:
            self._count_sources(rows, drawn, row, x, self._inside[pixel])
        self._emit(rows, drawn, row, energy, pixel, more, generator)

    def _candidates(self, rows: _Populations, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """Row, bin of the first photon, and pixel of every candidate, each (n,)."""
        share = torch.stack([each.share for each in self._templates])[rows.source]
        number = _poisson(rows.flux[:, None] * rows.spectrum * share, generator).long()
        cell = torch.repeat_interleave(number.view(-1))
        row, energy = cell // number.shape[1], cell % number.shape[1]
        target = energy + self._uniform(len(cell), generator, torch.float64)
        pixel, n_reach = torch.empty_like(cell), len(self._where)
        source = rows.source[row]
        for j, each in enumerate(self._templates):
            mine = source == j
            at = torch.searchsorted(each.upto, target[mine], right=True) - energy[mine] * n_reach
            pixel[mine] = at.clamp(0, n_reach - 1)
        return row, energy, pixel

    def _count_sources(self, rows: _Populations, drawn: _Drawn, row: Tensor, x: Tensor, inside: Tensor) -> None:
        row, x = row[inside], x[inside]
        n_bin = drawn.label.shape[-1]
        place = (((x - self._sky.low) / self._sky.width).floor().long() + 1).clamp(0, n_bin - 1)
        source = rows.map[row] * drawn.label.shape[1] + rows.template[row]
        drawn.label.view(-1).index_add_(0, source * n_bin + place, torch.exp(x * LN10))
        drawn.n_sources.view(-1).index_add_(0, source, torch.ones_like(x))

    def _emit(
        self,
        rows: _Populations,
        drawn: _Drawn,
        row: Tensor,
        energy: Tensor,
        pixel: Tensor,
        more: Tensor,
        generator: torch.Generator,
    ) -> None:
        """Count the photons of sources (n,): a first one of a given bin, and so many more."""
        n_energy, n_pix = drawn.counts.shape[1:]
        face, x, y = self._where[pixel].T
        within = self._uniform(2 * len(row), generator).view(2, -1)
        z, phi = position_in(face, (x + within[0]) / self._sky.nside, (y + within[1]) / self._sky.nside)
        other = torch.repeat_interleave(more)
        source = torch.cat([torch.arange(len(row), device=self.device), other])
        energy = torch.cat([energy, self._bins(rows, row, pixel, other, generator)])
        drop = self._displacement(energy, self._reach[pixel[source], energy], generator)
        angle = 2 * math.pi * self._uniform(len(source), generator)
        landed = self._landing[pixel_of(self._sky.nside, *displace(z[source], phi[source], drop, angle))]
        place = ((rows.map[row[source]] * n_energy + energy) * n_pix + landed)[landed >= 0]
        drawn.counts.view(-1).index_add_(0, place, torch.ones_like(place, dtype=drawn.counts.dtype))

    def _bins(
        self, rows: _Populations, row: Tensor, pixel: Tensor, source: Tensor, generator: torch.Generator
    ) -> Tensor:
        """Energy bins of photons, each of a source of some row and pixel."""
        upto = (rows.spectrum[row] * self._effective[pixel]).cumsum(dim=1).float()
        target = self._uniform(len(source), generator) * upto[source, -1]
        return (target[:, None] >= upto[source, :-1]).sum(dim=1)

    def _displacement(self, energy: Tensor, reach: Tensor, generator: torch.Generator) -> Tensor:
        """1 - cos θ of displacements (n,), from the part of the PSF of each bin that lies beyond `reach`."""
        last = self._drop.shape[1] - 1
        place = last * (1 - torch.sqrt(self._uniform(len(energy), generator) * reach))
        i = place.long().clamp(0, last - 1)
        at = energy * (last + 1) + i
        low, high = self._drop.view(-1)[at], self._drop.view(-1)[at + 1]
        return low + (place - i) * (high - low)

    def _uniform(self, n: int, generator: torch.Generator, dtype: torch.dtype = torch.float32) -> Tensor:
        return torch.rand(n, dtype=dtype, device=self.device, generator=generator)


def device_batches(
    simulator: Simulator, batch_size: int, seed: int, device: str | torch.device = "cpu", start: int = 0
) -> Iterator[MapTensors]:
    """Batches of new maps drawn on a device, without end.

    Arguments, and the maps' parameters for a seed, are those of :func:`gcesbi.simulation.torch_maps.fresh_batches`;
    photons are others. Each shard is seeded by itself: same seed, same batches on the same kind of device.

    Raises
    ------
    InputError
        If `batch_size` is below 1, or `seed` or `start` negative.
    """
    if batch_size < 1:
        raise InputError(f"batch_size: must be at least 1, got {batch_size}")
    if seed < 0 or start < 0:
        raise InputError(f"seed, start: must not be negative, got {seed}, {start}")
    skipped, within = divmod(start, SHARD)
    return cut_batches(_shards(DeviceSimulator(simulator, device), seed, skipped), batch_size, within)


def _shards(simulator: DeviceSimulator, seed: int, first: int) -> Iterator[MapTensors]:
    generator, prior, k = torch.Generator(simulator.device), simulator.model.prior(), FRESH + first
    while True:
        theta = prior.draw(SHARD, np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(k,))))
        state = np.random.SeedSequence(seed, spawn_key=(k, 0)).generate_state(1, np.uint64)[0]
        yield simulator.draw(theta, generator.manual_seed(int(state >> 1)))
        k += 1


def _differences(below: Tensor, total: Tensor) -> Tensor:
    """Integrals (n, n_bin) over bins, from those up to the edges between them (n, n_bin - 1) and the total (n, 1)."""
    return torch.cat([below, total], dim=1).diff(dim=1, prepend=torch.zeros_like(total)).clamp_min(0)


def _poisson(mean: Tensor, generator: torch.Generator) -> Tensor:
    """Poisson variables; beyond :data:`_LARGE` rounded normal ones."""
    large = mean > _LARGE
    drawn = torch.poisson(torch.where(large, 0.0, mean), generator=generator)
    noise = torch.randn(mean.shape, dtype=mean.dtype, device=mean.device, generator=generator)
    return torch.where(large, (mean + mean.sqrt() * noise).round(), drawn)
