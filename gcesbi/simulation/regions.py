"""Where a sky is analysed, as a user states it: HEALPix pixels or an image; and the patch of sky that it needs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BeforeValidator, Field, model_validator

from gcesbi.errors import InputError
from gcesbi.io import degrade
from gcesbi.io.arrays import FITS_ENDINGS, array_mask
from gcesbi.io.reading import load_array
from gcesbi.io.template_map import image_geometry
from gcesbi.simulation.patches import HealpixPatch, ImagePatch, Patch
from gcesbi.simulation.source_mask import SourceMask
from gcesbi.simulation.stated_data import FileField, FileOrArrayField
from gcesbi.simulation.statement import Degrees, Place, Statement
from gcesbi.sky import Grid, ImageGeometry, ImageRegion, Region
from gcesbi.sky.grid import pixels_of_runs
from gcesbi.sky.region import check_nside

__all__ = ["HealpixRegion", "RegionField", "WcsRegion"]


class HealpixRegion(Statement):
    """Pixels that are analysed: a disc, less a band about the Galactic plane, less masked pixels; or pixels by number.

    Parameters
    ----------
    mask : array (12 n²,), optional
        True where a pixel is masked, of nside n at least that of the region, in `mask_order`.
    """

    kind: Literal["healpix"] = "healpix"
    nside: int = Field(64, ge=1, le=4096)
    centre: Place = Field((0.0, 0.0), description="glon and glat, degrees")
    radius: Degrees = Field(25.0, gt=0, le=90, description="degrees")
    band: Degrees = Field(2.0, ge=0, lt=90, description="pixels at |b| up to this are left out, degrees")
    mask: FileOrArrayField | None = None
    mask_order: Literal["ring", "nested"] | None = None
    mask_sources: SourceMask | None = Field(None, description="pixels near sources of a catalogue are left out")
    runs: str | None = Field(
        None, description="NESTED pixels as runs, as a region describes itself, in place of a disc"
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        fits = isinstance(self.mask, str) and self.mask.lower().endswith(FITS_ENDINGS)
        if self.mask is not None and self.mask_order is None and not fits:
            raise InputError("region: mask_order must be stated, 'ring' or 'nested'")
        check_nside(self.nside)
        return self

    def place(self, reach: float) -> tuple[Patch, Grid]:
        """The patch, and the region in it; light comes from as far as `reach`, degrees."""
        patch = HealpixPatch(self.nside, self.radius, self.centre)
        if self.runs is not None:
            return patch, Region(self.nside, pixels_of_runs(self.runs))
        mask = None
        if self.mask is not None:
            mask = degrade(array_mask(self.mask, self.mask_order), self.nside, "any")
        return patch, Region.disc(self.nside, self.radius, self.band, self.centre, mask)

    @classmethod
    def of(cls, region: Region) -> HealpixRegion:
        """The statement of a region that is known."""
        return cls(**region.describe())


class WcsRegion(Statement):
    """Pixels of an image in GLON-CAR and GLAT-CAR: all, or those of a disc, off the plane and not masked.

    Templates are normalised over the whole image.
    """

    kind: Literal["image"] = "image"
    header: FileField | None = Field(None, description="FITS file of which the first image has the geometry")
    shape: tuple[int, int] | None = Field(None, description="rows and columns, where there is no header")
    pixel_size: Degrees | None = Field(None, gt=0, description="degrees")
    reference: Place = Field((0.0, 0.0), description="glon and glat of the origin, degrees")
    reference_pixel: tuple[float, float] | None = Field(None, description="column and row; the middle by default")
    centre: Place = (0.0, 0.0)
    radius: Degrees | None = Field(None, gt=0, description="degrees; the whole image without one")
    band: Degrees = Field(0.0, ge=0, lt=90)
    mask: FileOrArrayField | None = Field(None, description="(n_lat, n_lon), true where masked")
    mask_sources: SourceMask | None = Field(None, description="pixels near sources of a catalogue are left out")
    runs: str | None = Field(None, description="pixels as runs, as a region describes itself")

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.header is None) == (self.shape is None or self.pixel_size is None):
            raise InputError("region: needs either a header, or shape and pixel_size")
        self.geometry()
        return self

    @classmethod
    def of(cls, region: ImageRegion) -> WcsRegion:
        """The statement of a region that is known."""
        told = region.describe()
        return cls(**told["geometry"], runs=told["runs"])

    def place(self, reach: float) -> tuple[Patch, Grid]:
        """The patch, and the region in it; light comes from as far as `reach`, degrees."""
        geometry = self.geometry()
        patch = ImagePatch(geometry, reach)
        if self.runs is not None:
            return patch, ImageRegion(geometry, pixels_of_runs(self.runs))
        if self.radius is None and not self.band and self.mask is None:
            return patch, geometry.whole()
        mask = None if self.mask is None else _array(self.mask)
        return patch, geometry.disc(self.radius or 180.0, self.centre, self.band, mask)

    def geometry(self) -> ImageGeometry:
        """The image's."""
        if self.header is not None:
            return image_geometry(self.header)
        return ImageGeometry(self.shape or (0, 0), self.pixel_size or 0.0, self.reference, self.reference_pixel)


def _array(told: Any) -> NDArray[Any]:
    return np.asarray(load_array(Path(told)) if isinstance(told, str) else told)


def _as_region(value: Any) -> Any:
    if isinstance(value, ImageGeometry):
        value = value.whole()
    if isinstance(value, ImageRegion):
        return WcsRegion.of(value)
    if isinstance(value, Region):
        return HealpixRegion.of(value)
    if isinstance(value, Mapping) and "kind" not in value:
        return {"kind": "image" if {"header", "shape"} & set(value) else "healpix", **value}
    return value


RegionField = Annotated[HealpixRegion | WcsRegion, Field(discriminator="kind"), BeforeValidator(_as_region)]
"""A region as a field of a statement."""
