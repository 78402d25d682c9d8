"""Ask the networks of a run on images about one image, and say what to hold against the answer."""

import numpy as np

from gcesbi.analysis.evaluate import binned_errors, image_networks
from gcesbi.analysis.folder import RunFolder
from gcesbi.evaluation.image_answer import STRANGE, ImageAnswer, likeness
from gcesbi.simulation.sky_settings import INTERSTELLAR
from gcesbi.sky import Observation

__all__ = ["infer_image"]


def infer_image(run: RunFolder, observation: Observation) -> ImageAnswer:
    """Ask all networks of a run about an image.

    Parameters
    ----------
    run : RunFolder
        Trained.
    observation : Observation

    Raises
    ------
    InputError
        If the image's size, pixels, energy bins or exposure are not those that the networks were trained for, or the
        run is not trained.
    """
    images = run.images
    images.model(images.training[0]).for_observation(observation)
    known = [images.validation(name).counts for name in images.training]
    p_value = max(likeness(observation.counts, each) for each in known)
    return ImageAnswer.of(
        image_networks(run),
        observation.counts,
        binned_errors(run),
        seed=run.settings.seed,
        gamma=images.known_slope,
        photons_known=np.concatenate([each.sum(axis=(1, 2)) for each in known]),
        p_value=p_value,
        caveats=_caveats(run, p_value),
    )


def _caveats(run: RunFolder, p_value: float) -> tuple[str, ...]:
    images, sky = run.images, run.images.sky
    flux = images.model(images.training[0]).region_flux[0].sum()
    told = [
        f"Networks know the interstellar emission of {', '.join(images.training)} only; what differs from these on the "
        "scale of the point-spread function is taken for sources.",
        "Sources are placed after the excess, those of the disk or the bulge are not among them; catalogued sources "
        + ("are left out of the model altogether." if sky.catalogue is None else "have the norms of the catalogue."),
        f"f_src is the share of sources in the excess of {flux:.1e} photons "
        f"/ cm² / s with fluxes below {sky.flux_threshold:.0e}, dN/dS ∝ S^α, α in [{sky.alpha[0]}, {sky.alpha[1]}]; "
        "sources much dimmer than one photon look smooth.",
    ]
    maps = [name for name in (*images.training, *images.testing) if name not in INTERSTELLAR]
    if maps and sky.flux is None and sky.cross_section is None:
        told.append(
            f"No excess was fitted beside {', '.join(maps)}: it has that of {sky.interstellar}; "
            "sky.flux states another."
        )
    if p_value < STRANGE:
        told.append(
            f"The image is unlike those on which the errors were measured (p-value {p_value:.2g}): they may be larger."
        )
    return tuple(told)
