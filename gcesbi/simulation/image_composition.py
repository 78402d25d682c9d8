"""Images of the Galactic centre as a composition: the sky of :mod:`gcesbi.simulation.image_sky_model` in the one world.

Background components keep their templates, as the instrument sees them, each with a norm about its own. The excess is
one component of point sources with the share 1 − f_src exactly Poisson, ``gce_poisson_share``, fluxes dN/dS ∝ S^α and,
where it floats, the slope γ. All that is done with maps can then be done with images: gate, validation, pages, export,
Poisson fit and NPTF, mismodelling, injection.

What differs: sources follow the template's pixels, within which they are placed evenly, so that the cusp is that of the
pixels; their number is Poisson, so that the flux of the excess scatters about what is asked for.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from gcesbi.errors import InputError
from gcesbi.physics.psf import PSF
from gcesbi.physics.psf_front import FRONT_TO_PSF3, P8R3_ULTRACLEANVETO_V3_FRONT
from gcesbi.simulation.components import PointSources, Smooth
from gcesbi.simulation.composition import Composition
from gcesbi.simulation.image_sky_model import ImageSkyModel
from gcesbi.simulation.instrument import KingPsf, SurveyExposure
from gcesbi.simulation.marginals import Fixed, Uniform
from gcesbi.simulation.population_families import PowerLawPopulation
from gcesbi.simulation.regions import WcsRegion
from gcesbi.simulation.spectral_families import TabulatedSpectrum
from gcesbi.simulation.template_statements import Formula, Map

__all__ = ["image_composition"]

_NEXT = 1e-9  # how far from an edge of a bin its table begins


def image_composition(model: ImageSkyModel, norms: tuple[float, float] = (0.8, 1.2)) -> Composition:
    """The composition of a model of images, with the library's own instrument.

    Parameters
    ----------
    model : ImageSkyModel
    norms : (low, high)
        Range of the background's norms, in terms of those of the model.

    Raises
    ------
    InputError
        If interstellar models are mixed, norms or the flux of the excess scatter, or f_src does not reach from 0 to 1.
    """
    sky = model.settings
    if sky.mixed:
        raise InputError(f"mixed: must be one interstellar model, got {', '.join((sky.interstellar, *sky.mixed))}")
    if sky.scatter > 0 or sky.flux_scatter > 0:
        raise InputError(f"scatter, flux_scatter: must be 0, got {sky.scatter}, {sky.flux_scatter}")
    if sky.f_src != (0.0, 1.0):
        raise InputError(f"f_src: must have the range 0 to 1, got {sky.f_src}")
    background = []
    for name, template in zip(model.background, model.background_templates, strict=True):
        flux = (template / model.exposure).sum(axis=1)
        mean = float(template.sum(axis=0).mean())
        background.append(
            Smooth(
                name=name,
                template=Map(values=model.region.image(template), quantity="counts", smoothed=True),
                norm=Uniform(norms[0] * mean, norms[1] * mean),
                spectrum=_spectrum(flux, model.energy_edges),
            )
        )
    population = PowerLawPopulation(
        alpha=_range(sky.alpha),
        low=float(np.log10(sky.flux_low)),
        threshold=float(np.log10(sky.flux_threshold)),
        flux=Fixed(float(model.region_flux[0].sum())),
    )
    excess = PointSources(
        name="gce",
        template=Formula.of("nfw", gamma=_range(sky.gamma), r_s=sky.r_s, r_sun=sky.r_sun),
        populations=(population,),
        poisson_share=Uniform(0.0, 1.0),
        spectrum=_spectrum(model.spectrum, model.energy_edges),
    )
    psf = [
        PSF.from_table(P8R3_ULTRACLEANVETO_V3_FRONT, low, high, index=2.4) for low, high in pairwise(sky.energy_edges)
    ]
    return Composition(
        region=WcsRegion.of(model.region),
        energy_edges=sky.energy_edges,
        exposure=SurveyExposure(weeks=sky.weeks * FRONT_TO_PSF3),
        psf=KingPsf.of(tuple(psf)),
        components=(*background, excess),
    )


def _spectrum(flux: NDArray[np.float64], energy_edges: NDArray[np.float64]) -> TabulatedSpectrum:
    """Flux in energy bins (n_energy,) as a table, level in E dN/dE within each."""
    ends = np.stack([energy_edges[:-1] * (1 + _NEXT), energy_edges[1:] * (1 - _NEXT)], axis=1)
    dnde = flux[:, None] / np.diff(np.log(energy_edges))[:, None] / ends
    return TabulatedSpectrum(energy=tuple(ends.ravel().tolist()), dnde=tuple(dnde.ravel().tolist()))


def _range(ends: tuple[float, float]) -> Fixed | Uniform:
    low, high = ends
    return Fixed(low) if low == high else Uniform(low, high)
