"""The simulator of Galactic-centre images: parameters in, counts images and labels out, seeded.

An image is Poisson background, plus Poisson light of the smooth share of the excess, plus the photons of sources. Of
several interstellar models a mixture is drawn for every image. Fluxes are drawn from dN/dS until their sum would exceed
f_src times the excess' flux; the smooth part carries the rest, so that the total is the same in every image of a
mixture. A source of flux S gives Poisson(S s_e ε_e) photons in energy bin e, s the share of the flux and ε the exposure
at its place, each displaced by the bin's point-spread function. Sources are placed to five degrees beyond the image's
corners: those outside leak in.

Shards, seeds and stores are those of :class:`gcesbi.simulation.simulator.Simulator`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gcesbi.errors import InputError
from gcesbi.physics.source_flux import PowerLawFluxes
from gcesbi.simulation.image_sky_model import ImageSkyModel
from gcesbi.simulation.simulations import Simulations
from gcesbi.simulation.simulator import Simulator, displacements, smallest_counts
from gcesbi.sky.compiled import njit

__all__ = ["ImageSimulator", "ImageSources"]

Array = NDArray[np.float64]

DRAWS = 1
"""As :data:`gcesbi.simulation.kernels.DRAWS`, for images."""
N_TABLE = 4097
_CHUNK = 4096


@dataclass(frozen=True, eq=False)
class ImageSources:
    """Sources of one image, those outside it included.

    Attributes
    ----------
    glon, glat : array (n,), deg
    flux : array (n,), photons / cm² / s
        Over all energy bins.
    """

    glon: Array
    glat: Array
    flux: Array


class ImageSimulator(Simulator):
    """Draws images from a model.

    Parameters
    ----------
    model : ImageSkyModel

    Examples
    --------
    >>> from gcesbi.simulation.image_sky_model import ImageSkyModel
    >>> simulator = ImageSimulator(ImageSkyModel.preset(shape=(24, 24)))
    >>> simulator.sample(3, seed=1).counts.shape
    (3, 1, 576)
    """

    draws: ClassVar[int] = DRAWS

    def __init__(self, model: ImageSkyModel) -> None:
        self.model: ImageSkyModel = model  # type: ignore[assignment]
        self._resolved = None

    def prepare(self) -> None:
        """Compute what drawing needs; call it once before several threads draw."""
        self._radii, self._edge_exposure, self._place, self.model.disc_flux, self.model.region_flux  # noqa: B018
        _ = (
            self.model.background_mean,
            self.model.background_flux,
            self.model.interstellar_flux,
            [halo.angles(1, np.random.default_rng(0)) for halo in self.model.halos],
        )

    def draw(self, theta: ArrayLike, rng: np.random.Generator) -> Simulations:
        """Draw one image for each parameter vector (n, n_parameter).

        Raises
        ------
        InputError
            If theta has another shape, is not finite, or lies outside the prior's ranges.
        """
        model = self.model
        known = model.parameters(theta)
        n = len(known["f_src"])
        counts = np.zeros((n, model.n_energy, model.region.n_pix), dtype=np.int64)
        flux = np.zeros((n, len(model.names), model.n_energy))
        scd = np.zeros((n, 1, len(model.bins)))
        number = np.zeros((n, 1))
        flux[:, :-1] = model.background_flux
        for i, (f_src, alpha, gamma) in enumerate(zip(*known.values(), strict=True)):
            weights, (mixture, brightness) = model.mixture(gamma), model.draw_mixture(rng)
            sources = self.draw_sources(f_src, alpha, gamma, rng, brightness)
            smooth = brightness - sources.flux.sum() / (weights @ model.disc_flux).sum()
            mean = model.background_of(mixture) + smooth * np.tensordot(weights, model.halo_templates, axes=1)
            counts[i] = rng.poisson(mean) + self.photons(sources, rng)
            inside = sources.flux[self._holds(sources)]
            smooth_flux = smooth * (weights @ model.region_flux)
            scd[i, 0] = _histogram(model, inside, smooth_flux.sum())
            flux[i, 0] = np.tensordot(mixture, model.interstellar_flux, axes=2)
            flux[i, -1] = smooth_flux + inside.sum() * model.spectrum
            number[i] = len(inside)
        return Simulations(np.array(theta, dtype=np.float64), smallest_counts(counts), flux, scd, number)

    def draw_sources(
        self, f_src: float, alpha: float, gamma: float, rng: np.random.Generator, brightness: float = 1.0
    ) -> ImageSources:
        """Sources that make a share f_src of an excess of some brightness; their flux never exceeds it."""
        model, settings = self.model, self.model.settings
        weights = model.mixture(gamma) * model.disc_flux.sum(axis=1)
        target = f_src * brightness * weights.sum()
        flux = _fill(PowerLawFluxes(alpha, settings.flux_threshold, settings.flux_low), target, rng)
        number = rng.multinomial(len(flux), weights / weights.sum())
        places = [halo.directions(n, rng) for halo, n in zip(model.halos, number, strict=True)]
        glon, glat = np.concatenate(places, axis=1)
        return ImageSources(glon, glat, flux)

    def photons(self, sources: ImageSources, rng: np.random.Generator) -> NDArray[np.int64]:
        """Photons (n_energy, n_pix) of sources, in the region's pixels."""
        model = self.model
        counts = np.zeros((model.n_energy, model.region.n_pix), dtype=np.int64)
        exposure = self._exposure_at(sources.glon, sources.glat)
        geometry = model.region.geometry
        lon, lat = (np.radians(v) for v in geometry.to_native(sources.glon, sources.glat))
        for e in range(model.n_energy):
            number = rng.poisson(sources.flux * model.spectrum[e] * exposure[e])
            _scatter(rng, lon, lat, number, self._radii[e], self._grid, geometry.shape, self._place, counts[e])
        return counts

    # -- what drawing needs -------------------------------------------------------------------------------------

    @cached_property
    def _radii(self) -> Array:
        """Angles (n_energy, N_TABLE), radians, at containments 1 - (1 - i/(N_TABLE - 1))²."""
        return displacements(self.model.psf, N_TABLE)

    @cached_property
    def _edge_exposure(self) -> Array:
        """Exposure (n_energy, n_lat, n_lon) over the whole image; the region's mean in pixels outside it."""
        model = self.model
        mean = model.exposure.mean(axis=1)[:, None, None]
        image = model.region.image(model.exposure)
        return np.where(np.isfinite(image), image, mean)

    def _exposure_at(self, glon: Array, glat: Array) -> Array:
        """Exposure (n_energy, n) towards directions; beyond the image that of the nearest pixel."""
        geometry = self.model.region.geometry
        x, y = (np.rint(v).astype(np.int64) for v in geometry.to_pixel(glon, glat))
        return self._edge_exposure[:, np.clip(y, 0, geometry.shape[0] - 1), np.clip(x, 0, geometry.shape[1] - 1)]

    @cached_property
    def _place(self) -> NDArray[np.int64]:
        """Position in the region of every pixel of the image, -1 outside; the last one for what misses the image."""
        place = np.full(self.model.region.geometry.n_pix + 1, -1)
        place[self.model.region.pixels] = np.arange(self.model.region.n_pix)
        return place

    @property
    def _grid(self) -> tuple[float, float, float]:
        """Column and row of the native origin, and the size of a pixel in radians."""
        geometry = self.model.region.geometry
        x, y = geometry.reference_pixel or (0.0, 0.0)
        return x, y, float(np.radians(geometry.pixel_size))

    def _holds(self, sources: ImageSources) -> NDArray[np.bool_]:
        return self._place[self.model.region.geometry.index(sources.glon, sources.glat)] >= 0


def _fill(law: PowerLawFluxes, target: float, rng: np.random.Generator) -> Array:
    """Fluxes drawn one after another, as many as do not exceed `target` in sum."""
    parts: list[Array] = []
    left = target
    while True:
        flux = law.sample(max(64, min(_CHUNK, int(1.2 * left / law.mean))), rng)
        total = np.cumsum(flux)
        kept = int(np.searchsorted(total, left, side="right"))
        parts.append(flux[:kept])
        if kept < len(flux):
            return np.concatenate(parts)
        left -= total[-1]


@njit(cache=True, nogil=True)
def _scatter(
    rng: np.random.Generator,
    lon: Array,
    lat: Array,
    number: NDArray[np.int64],
    radii: Array,
    grid: tuple[float, float, float],
    shape: tuple[int, int],
    place: NDArray[np.int64],
    counts: NDArray[np.int64],
) -> None:  # pragma: no cover - compiled
    """Displace photons from native coordinates (n,), radians, and count them in the region's pixels."""
    top = len(radii) - 1
    for i in range(len(lon)):
        sine, cosine = math.sin(lat[i]), math.cos(lat[i])
        for _ in range(number[i]):
            at = (1.0 - math.sqrt(1.0 - rng.random())) * top
            k = min(int(at), top - 1)
            theta = radii[k] + (at - k) * (radii[k + 1] - radii[k])
            around = 2.0 * math.pi * rng.random()
            north, east = math.sin(theta) * math.cos(around), math.sin(theta) * math.sin(around)
            up = math.cos(theta) * sine + north * cosine
            latitude = math.asin(min(1.0, max(-1.0, up)))
            longitude = lon[i] + math.atan2(east, math.cos(theta) * cosine - north * sine)
            x, y = math.floor(grid[0] - longitude / grid[2] + 0.5), math.floor(grid[1] + latitude / grid[2] + 0.5)
            if 0 <= x < shape[1] and 0 <= y < shape[0]:
                pixel = place[y * shape[1] + x]
                if pixel >= 0:
                    counts[pixel] += 1


def _histogram(model: ImageSkyModel, flux: Array, smooth: float) -> Array:
    """Share of flux by the flux of sources (n_bin,), smooth emission in the dimmest bin: it is ever dimmer sources."""
    histogram = model.bins.flux_in_bins(flux)
    histogram[0] += max(smooth, 0.0)
    total = histogram.sum()
    if not total > 0:
        raise InputError("region: the excess gives no flux in it")
    return histogram / total
