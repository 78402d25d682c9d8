"""A small sky model and the real map, without the simulator."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from types import SimpleNamespace

import healpy as hp
import numpy as np
import pytest

from gcesbi.physics.psf import PSF
from gcesbi.posterior import Coordinates
from gcesbi.sky.energy import log_energy_edges
from gcesbi.sky.observation import Observation
from gcesbi.sky.region import Region

REAL_NAMES = ("Opi", "Oic", "iso", "bub", "nfw_g1p2", "dsk_z0p3")


@dataclass(frozen=True, eq=False)
class RealMaps:
    region: Region
    counts: np.ndarray
    exposure: np.ndarray
    templates: np.ndarray


@dataclass(frozen=True, eq=False)
class SmallModel:
    """What the baselines read of a sky model."""

    names: tuple[str, ...]
    point_sources: tuple[str, ...]
    region: Region
    energy_edges: np.ndarray
    exposure: np.ndarray
    templates: np.ndarray
    psf: tuple[PSF, ...]
    parameters = SimpleNamespace(shapes=(), slots=())
    subject = "gce"
    shapes = ()
    modulated = ()

    @cached_property
    def flux_per_norm(self):
        return (self.templates / self.exposure).sum(axis=-1)

    def for_observation(self, observation):
        keep = np.isin(self.region.pixels, observation.region.pixels)
        assert np.array_equal(self.region.pixels[keep], observation.region.pixels)
        if keep.all():
            return self
        parts = {"exposure": self.exposure[:, keep], "templates": self.templates[..., keep]}
        return replace(self, region=observation.region, **parts)

    @property
    def scd_edges(self):
        width = 6.5 / 24
        return -13.5 + width * (np.arange(27) - 1)

    @property
    def coordinates(self):
        centres = (self.scd_edges[1:] + self.scd_edges[:-1]) / 2
        energy = np.sqrt(self.energy_edges[1:] * self.energy_edges[:-1])
        return Coordinates(self.names, tuple(energy), self.point_sources, tuple(centres))

    @classmethod
    def build(cls, n_energy=1, names=("iso", "ic", "gce", "disk"), radius=20.0, high=20.0, brightness=1.0, nside=16):
        region = Region.disc(nside, radius)
        glon, glat = region.glon_glat()
        shape = {
            "iso": np.ones(region.n_pix),
            "ic": np.exp(-np.abs(glat) / 8),
            "gce": 1 / (3 + np.hypot(glon, glat)) ** 2,
            "disk": np.exp(-np.abs(glat) / 2) * np.exp(-np.abs(glon) / 20),
        }
        maps = np.array([shape[name] / shape[name].mean() for name in names])
        edges = log_energy_edges(n_energy, 2.0, high)
        share = 0.5 ** np.arange(n_energy)
        templates = brightness * maps[:, None] * (share / share.sum())[:, None]
        exposure = 9e10 * (1 + 0.05 * np.sin(np.radians(4 * glat))) * np.ones((n_energy, 1))
        sources = tuple(name for name in ("gce", "disk") if name in names)
        return cls(names, sources, region, edges, exposure, templates, (PSF.customary_2gev(),) * n_energy)

    @classmethod
    def of_maps(cls, maps):
        edges = log_energy_edges(1)
        names = ("pi", "ic", "iso", "bub", "gce", "disk")
        psf = (PSF.customary_2gev(),)
        return cls(names, ("gce", "disk"), maps.region, edges, maps.exposure[None], maps.templates[:, None], psf)


def observe(model, counts=None, seed=None, norm=5.0):
    if counts is None:
        counts = np.random.default_rng(seed).poisson(norm * model.templates.sum(axis=0))
    return Observation(counts, model.exposure, model.energy_edges, model.region)


@pytest.fixture(scope="session")
def real_maps(data_folder):
    def read(stem):
        return hp.reorder(np.load(data_folder / "fermi-573w" / f"{stem}.npy"), r2n=True)

    region = Region.disc(128, mask=read("fermidata_pscmask_3fgl") > 0)
    maps = {stem: read(stem)[region.pixels] for stem in ("fermidata_counts", "fermidata_exposure")}
    templates = np.stack([read(f"template_{name}")[region.pixels] for name in REAL_NAMES])
    return RealMaps(region, maps["fermidata_counts"].astype(np.int64), maps["fermidata_exposure"], templates)
