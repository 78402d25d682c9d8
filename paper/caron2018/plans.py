"""The run behind the figures, and what each scale makes of it: ``images``, simulated images and the networks."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path

from gcesbi.analysis.fit import fit_images
from gcesbi.analysis.run import Run
from gcesbi.analysis.settings import load_settings
from gcesbi.analysis.simulate import simulate
from gcesbi.analysis.train_images import train_images
from paper.caron2018.collect import collect
from paper.graph import Plan, Scale, Step

__all__ = ["CATALOGUE", "SIZES", "Sizes", "plans"]

CATALOGUE = "gll_psc_v16.fit.gz"


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """What a scale is.

    Parameters
    ----------
    preset : str
        Settings of :mod:`gcesbi.analysis.settings` to begin with.
    changes : tuple of str
        Of the preset.
    catalogue : bool
        Whether catalogue sources shine.
    n_fitted : int
        Images of each interstellar model that template fits are made of.
    """

    preset: str
    changes: tuple[str, ...] = ()
    catalogue: bool = True
    n_fitted: int = 20


SIZES: dict[Scale, Sizes] = {
    "test": Sizes(preset="images-test", catalogue=False, n_fitted=2),
    "quick": Sizes(
        preset="images",
        changes=(
            "sky.shape=[32, 32]",
            "sky.pixel_size=0.75",
            "simulation.n_train=1536",
            "simulation.n_validation=512",
            "simulation.n_test=512",
            "training.max_maps=24576",
            "training.start='scratch'",
            "joint.max_maps=24576",
        ),
    ),
    "default": Sizes(preset="images"),
    "paper": Sizes(preset="images-paper"),
}


def plans(scale: Scale, data: Path, folder: Path) -> tuple[Plan, ...]:
    """The run of a scale; sources of the 3FGL catalogue, beside the real maps in `data`, belong to the background."""
    sizes, catalogues = SIZES[scale], data.parent / "catalogs"
    catalogue = f'sky.catalogue="{(catalogues / CATALOGUE).as_posix()}"'
    settings = load_settings(sizes.preset, (*sizes.changes, *([catalogue] if sizes.catalogue else [])))
    shape, pixel = settings.sky_of_images.shape, settings.sky_of_images.pixel_size
    images = Plan(
        name="images",
        about=f"simulated images of {shape[0]} x {shape[1]} pixels of {pixel:g} deg",
        settings=settings.model_dump(mode="json"),
        begin=lambda place: Run.begin(place, settings),
        steps=(
            Step(name="simulate", do=simulate),
            Step(name="train", do=train_images),
            Step(name="fit", do=partial(fit_images, n_image=sizes.n_fitted), options={"n_image": sizes.n_fitted}),
            Step(name="collect", do=collect),
        ),
        data=catalogues if sizes.catalogue else None,
    )
    return (images,)
