"""Masks of catalogue sources: pixels near any of them are left out of a region."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

import healpy as hp
import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator
from scipy.spatial import cKDTree

from gcesbi.errors import InputError
from gcesbi.io import read_catalogue
from gcesbi.simulation.stated_data import FileField
from gcesbi.simulation.statement import Degrees, Statement
from gcesbi.sky import Grid, RadialPSF

__all__ = ["SourceMask"]


class SourceMask(Statement):
    """Pixels whose middle lies near a catalogue's source: within a radius, or where a share of its light falls.

    The share is that of the widest PSF of all energy bins; the own radius of an extended source is added to either.
    """

    file: FileField = Field(description="FITS file of 3FGL or 4FGL")
    radius: Degrees | None = Field(None, gt=0, le=30, description="degrees")
    containment: float | None = Field(None, gt=0, lt=1, description="share of the light, as 0.95")

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.radius is None) == (self.containment is None):
            raise InputError("mask_sources: needs either a radius or a containment")
        return self

    def cut(self, region: Grid, psf: Sequence[RadialPSF]) -> Grid:
        """The region without these pixels.

        Raises
        ------
        InputError
            If the file is no catalogue, or no pixel is left.
        """
        near = self.radius or 0.0
        if self.containment is not None:
            near = max(float(each.containment_radius(self.containment)) for each in psf)
        kept = ~self._near(region, near)
        if not kept.any():
            raise InputError(f"no pixel of the region is farther than {near:.3g} degrees from every source")
        return region.only(kept)

    def _near(self, region: Grid, near: float) -> NDArray[np.bool_]:
        """Whether each pixel (n_pix,) lies within `near` degrees of a source, or its edge."""
        catalogue = read_catalogue(self.file)
        pixels = cKDTree(region.vectors)
        reach = 2 * np.sin(np.radians(np.minimum(catalogue.radius + near, 180.0)) / 2)
        found = np.zeros(region.n_pix, dtype=bool)
        for inside in pixels.query_ball_point(_vectors(catalogue.glon, catalogue.glat), reach):
            found[inside] = True
        return found


def _vectors(glon: NDArray[np.float64], glat: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.stack(hp.ang2vec(glon, glat, lonlat=True), axis=0)
