"""Networks that ship with the package: which there are, and which of them know a map."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from gcesbi.analysis.folder import RunFolder
from gcesbi.analysis.gate import judge
from gcesbi.analysis.infer import infer
from gcesbi.analysis.keeping import package_folder, shipped_names
from gcesbi.errors import InputError
from gcesbi.posterior import PartialPosterior, Posterior
from gcesbi.simulation.composition import Composition
from gcesbi.simulation.matching import check_same_energies
from gcesbi.simulation.regions import HealpixRegion
from gcesbi.sky import Observation

__all__ = ["ShippedNetworks", "networks_for", "shipped_answers", "shipped_networks"]


@dataclass(frozen=True)
class ShippedNetworks:
    """A trained run in the package.

    Parameters
    ----------
    name : str
    run : RunFolder
        Where it lies; not to be written.
    """

    name: str
    run: RunFolder

    @property
    def sky(self) -> Composition:
        """The sky that they know."""
        return self.run.settings.sky_of_maps.composition()

    def __str__(self) -> str:
        """Energies, pixels and components in a few words."""
        edges, where = self.sky.energy_edges, self.sky.region
        bins = "one bin" if len(edges) == 2 else f"{len(edges) - 1} bins"
        place = f"nside {where.nside}, within {where.radius:g}°" if isinstance(where, HealpixRegion) else "an image"
        return (
            f"{edges[0]:g}-{edges[-1]:g} GeV in {bins}, {place}: {', '.join(each.name for each in self.sky.components)}"
        )


def shipped_networks(of_images: bool = False) -> tuple[ShippedNetworks, ...]:
    """Those of maps, by name; or those of images of the Galactic Centre, which belong to `gcesbi images`."""
    found = (ShippedNetworks(name, RunFolder.open(package_folder(name))) for name in shipped_names())
    return tuple(each for each in found if each.run.settings.of_images == of_images)


def networks_for(read: Callable[[RunFolder], Observation]) -> tuple[str, Observation]:
    """The name of those that know a map's energies and pixels, and the map.

    Parameters
    ----------
    read : callable
        Reads the map in the region of a run.

    Raises
    ------
    InputError
        If none does: says of each why not, and what to do; or what the map lacks, whatever the networks.
    """
    why: dict[str, str] = {}
    for each in shipped_networks():
        try:
            seen = read(each.run)
            check_same_energies(seen.energy_edges, np.asarray(each.sky.energy_edges))
            _, own = each.sky.region.place(0.0)
            if seen.region != own:
                raise InputError(f"observation: must have their {own.n_pix} pixels, has {seen.region.n_pix} of them")
        except InputError as error:
            why[f"{each.name} ({each})"] = str(error)
        else:
            return each.name, seen
    if len(set(why.values())) == 1:
        raise InputError(next(iter(why.values())))
    reasons = "; ".join(f"{networks}: {reason}" for networks, reason in why.items())
    raise InputError(
        f"observation: no networks that ship with the package know this map; {reasons}. To train your own: "
        "gcesbi quickstart --observation MAP, or gcesbi simulate --sky FILE and gcesbi train"
    )


def shipped_answers(run: RunFolder, observation: Observation) -> dict[str, Posterior]:
    """What networks of the package that were trained on another sky say of a run's map, by name; if any know it.

    Of their templates those that the run's sky has. Where their gate turns the map away, the name says so.
    """
    try:
        name, seen = networks_for(lambda each: observation)
        shipped = RunFolder.open(package_folder(name))
        if shipped.model.fingerprint == run.model.fingerprint:
            return {}
        found = PartialPosterior(f"{name} networks", infer(shipped, seen), run.model.coordinates)
    except InputError:  # no networks know the map, or its exposure, or they do not know the run's templates
        return {}
    return {found.method if judge(shipped, seen).accepted else f"{found.method}, refused": found}
