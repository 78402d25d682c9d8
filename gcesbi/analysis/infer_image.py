"""Ask the networks of a run on images about one image, and say what to hold against the answer."""

from gcesbi.analysis.evaluate import binned_errors, held_out_images, image_networks, not_learnt
from gcesbi.analysis.folder import RunFolder
from gcesbi.analysis.gate import judge_image
from gcesbi.evaluation.image_answer import ImageAnswer
from gcesbi.sky import Observation
from gcesbi.validation.misspecification import GateVerdict

__all__ = ["infer_image"]

METHOD = "quantiles"
"""Whose coverage says what a verdict means."""


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
    verdict = judge_image(run, observation)
    return ImageAnswer.of(
        image_networks(run),
        observation.counts,
        binned_errors(run),
        seed=run.settings.seed,
        gamma=images.known_slope,
        photons_known=held_out_images(run)[1],
        gate=verdict,
        caveats=(*not_learnt(run), _meaning(run, verdict), *_caveats(run)),
    )


def _caveats(run: RunFolder) -> tuple[str, ...]:
    images, model = run.images, run.images.model(run.images.training[0])
    sky, flux = model.settings, model.region_flux[0].sum()
    told = (
        f"Networks know the interstellar emission of {', '.join(images.training)} only; what differs from these on the "
        "scale of the point-spread function is taken for sources.",
        "Sources are placed after the excess, those of the disk or the bulge are not among them; catalogued sources "
        + ("are left out of the model altogether." if sky.catalogue is None else "have the norms of the catalogue."),
        f"f_src is the share of sources in the excess of {flux:.1e} photons "
        f"/ cm² / s with fluxes below {sky.flux_threshold:.2g}, dN/dS ∝ S^α, α in [{sky.alpha[0]}, {sky.alpha[1]}]; "
        "sources much dimmer than one photon look smooth.",
    )
    return (*told, *images.notes)


def _meaning(run: RunFolder, verdict: GateVerdict) -> str:
    """What the gate's verdict means for the errors."""
    if not verdict.accepted:
        return (
            "No model produces images like this one: errors were measured on images of the models, and on one "
            "unlike them an interval may hold anything."
        )
    judged = run.read_json("evaluation.json")["fixed"]
    held = [each["coverage_68"] for name in run.images.testing for each in (judged[name][METHOD],)]
    return (
        f"The models could have produced the image: its errors are those that were measured. On images of {len(held)} "
        f"interstellar models that no network saw, 68 % intervals of f_src (quantiles) held {min(held):.2f} to "
        f"{max(held):.2f} of the truths."
    )
