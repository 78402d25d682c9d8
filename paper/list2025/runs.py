"""Runs behind the figures, and what each scale makes of them.

=============== ============================================================================================
``ten``         mock sky, ten energy bins, energy-dependent networks: the nominal run
``summed``      the energy-independent twin: the same maps, energies added up
``jitter``      trained on spectra that scatter by 50 % in every bin
``weeks_567``   the nominal sky observed for 567 weeks
``weeks_812``   and for 812
``real_o``      the real 573-week map, one bin, Model O; with the NPTF
``real_a``      the same with Model A
``real_bright`` Model O, ξ of the excess from −11.5 up
``real_single`` Model O, an excess of one population
=============== ============================================================================================
"""

from dataclasses import dataclass
from functools import partial
from pathlib import Path

from gcesbi.analysis.settings import RunSettings, load_settings
from paper import library
from paper.graph import Plan, Scale, Step
from paper.list2025.brighter import brighter
from paper.list2025.mock import Composition, theta

__all__ = ["MOCK_SEED", "SIZES", "Sizes", "plans"]

MOCK_SEED = 2025
COMPOSITION = Composition()


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """What a scale is.

    Parameters
    ----------
    preset : str
        Settings to begin with.
    changes : tuple of str
        Of the preset, for all runs.
    real_nside : int
        Of the runs on the real map.
    poisson_fraction, gate, misspecification, poisson_excess, brighter : int
        Maps for the network of the Poisson share, the gate, every other sky, the exactly Poisson sky, and every mock of
        a brighter excess.
    skies : tuple of str
        Misspecified skies, by their names in :func:`gcesbi.analysis.misspecification.variations`; all if none is named.
    """

    preset: str
    changes: tuple[str, ...] = ()
    real_nside: int
    poisson_fraction: int
    gate: int
    misspecification: int
    poisson_excess: int = 100
    brighter: int = 64
    skies: tuple[str, ...] = ()


SIZES: dict[Scale, Sizes] = {
    "test": Sizes(
        preset="test",
        changes=(
            "sky.nside=16",
            "sky.n_energy=2",
            "sky.weeks=30",
            "simulation.n_train=256",
            "simulation.n_test=128",
            "training.max_maps=512",
            "network.widths=[8, 8]",
            "network.n_features=16",
        ),
        real_nside=16,
        poisson_fraction=128,
        gate=1200,
        misspecification=100,
        poisson_excess=8,
        brighter=8,
        skies=("thick disk",),
    ),
    "quick": Sizes(
        preset="default",
        changes=(
            "sky.nside=32",
            "simulation.n_train=4096",
            "simulation.n_test=512",
            "training.max_maps=30000",
            "training.head_maps=0",
            "network.widths=[16, 32, 64, 128]",
            "network.n_features=128",
            "nptf.n_live=120",
            "nptf.n_eff=300",
        ),
        real_nside=64,  # at 32 pixels hold up to 1,312 counts, and the NPTF takes 15 times as long
        poisson_fraction=2048,
        gate=1200,
        misspecification=128,
        skies=("interstellar lorimer-4-150", "thick disk", "NFW of slope 1"),
    ),
    "default": Sizes(preset="default", real_nside=64, poisson_fraction=16_384, gate=3072, misspecification=512),
    "paper": Sizes(
        preset="paper",
        changes=("training.workers=8",),
        real_nside=128,
        poisson_fraction=65_536,
        gate=6144,
        misspecification=2048,
    ),
}


def plans(scale: Scale, data: Path, folder: Path) -> tuple[Plan, ...]:
    """All runs at a scale; `folder` will hold them, `data` is that of the real 573-week map."""
    return (*_mock_plans(SIZES[scale], folder), *_real_plans(SIZES[scale], data))


def _mock_plans(sizes: Sizes, folder: Path) -> tuple[Plan, ...]:
    about = f"mock sky of the paper's best-fit composition (drawn with seed {MOCK_SEED}), {{}}"
    shared = (f'simulation.store="{(folder / "ten" / "simulations").resolve()}"',)
    same_map = library.observe_like(folder / "ten")
    learn = (library.simulate(), *library.train(), library.evaluate())
    share = (library.poisson_fraction(sizes.poisson_fraction), _brighter(sizes))
    known = (
        library.fit_poisson(),
        library.poisson_excess(sizes.poisson_excess),
        library.gate(sizes.gate),
        library.misspecification(sizes.misspecification, skies=sizes.skies),
    )
    ten = (*learn, _mock(), *share, library.infer(), *known)
    twin = (*learn, same_map, *share, library.infer())
    one = "energy-independent networks"
    jittered = "networks trained on spectra that scatter by 50 %"
    epochs = tuple(
        library.library_plan(
            f"weeks_{weeks}",
            about.format(f"{weeks} weeks of observation"),
            _settings(sizes, f"sky.weeks={_weeks(sizes, weeks)}"),
            (*learn, _mock(), library.infer()),
        )
        for weeks in (567, 812)
    )
    return (
        library.library_plan("ten", about.format("energy-dependent networks"), _settings(sizes), ten),
        library.library_plan(
            "summed",
            about.format(one),
            _settings(sizes, 'network.energy="summed"', *shared),
            twin,
            needs=("ten",),
        ),
        library.library_plan(
            "jitter",
            about.format(jittered),
            _settings(sizes, "sky.spectral_jitter=0.5"),
            (*learn, same_map, library.infer()),
            needs=("ten",),
        ),
        *epochs,
    )


def _real_plans(sizes: Sizes, data: Path) -> tuple[Plan, ...]:
    observe = library.observe_folder(data)
    learn = (library.simulate(), *library.train(), library.evaluate(), observe)
    fitted = (library.infer(), library.fit_poisson(), library.fit_nptf())
    gate, share = library.gate(sizes.gate), (library.poisson_fraction(sizes.poisson_fraction), _brighter(sizes))
    wanted: dict[str, tuple[str, tuple[str, ...], tuple[Step, ...]]] = {
        "real_o": ("Model O", (), (*learn, *share, *fitted, gate)),
        "real_a": ("Model A", ('sky.diffuse="A"',), (*learn, *fitted, gate)),
        "real_bright": (
            "Model O, ξ of the excess at least −11.5",
            ("sky.gce_xi_low=-11.5",),
            (*learn, library.infer()),
        ),
        "real_single": ("Model O, excess of one population", ("sky.gce_populations=1",), (*learn, library.infer())),
    }
    return tuple(
        library.library_plan(
            name, f"real 573-week map, {about}", _real_settings(sizes, data, *changes), steps, data=data
        )
        for name, (about, changes, steps) in wanted.items()
    )


def _mock() -> Step:
    draw = partial(theta, composition=COMPOSITION)
    return library.observe_theta(draw, MOCK_SEED, options={"composition": COMPOSITION.plain()})


def _brighter(sizes: Sizes) -> Step:
    return brighter(COMPOSITION, sizes.brighter, MOCK_SEED)


def _weeks(sizes: Sizes, weeks: int) -> float:
    """In proportion where the scale observes for other than 573 weeks."""
    return weeks * getattr(_settings(sizes).sky, "weeks", 573.0) / 573.0


def _settings(sizes: Sizes, *changes: str) -> RunSettings:
    return load_settings(sizes.preset, (*sizes.changes, *changes))


def _real_settings(sizes: Sizes, data: Path, *changes: str) -> RunSettings:
    sky = {"kind": "folder", "path": str(data.resolve()), "diffuse": "O", "mask": "3fgl", "nside": sizes.real_nside}
    own = tuple(change for change in sizes.changes if not change.startswith("sky."))
    return load_settings(sizes.preset, (*own, *changes), sky=sky)
