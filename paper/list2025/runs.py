"""Runs behind the figures, and what each scale makes of them.

=============== ============================================================================================
``ten``         ten energy bins, energy-dependent networks: the nominal run
``summed``      the energy-independent twin: the same maps, energies added up
``one_bin``     networks trained on maps that were drawn in one bin
``jitter``      trained on spectra that scatter by 50 % in every bin
``skies``       maps of other skies, by the networks of ``ten`` and ``summed`` (:mod:`paper.list2025.skies`)
``weeks_812``   the nominal sky observed for 812 weeks
``weeks_567``   567 of them: its map, thinned
``real_o``      the real 573-week map, one bin, Model O; with the NPTF
``real_a``      the same with Model A
``nptf_o``      the same map at nside 128, with the NPTF alone
``p6v11``       the same with the NPTF of 2016
``shipped``     the networks that ship, which see ten bins, on a mock (of the table alone; scale quick)
``real_bright`` Model O, ξ of the excess from −12 up
``real_single`` Model O, an excess of one population
=============== ============================================================================================

The first four look at the real map where the data folder has several energy bins: Model O of that folder, the map with
one bin lying beside it as ``fermi-573w``. Otherwise a mock of the built-in sky stands for it.
"""

from dataclasses import dataclass
from functools import partial
from pathlib import Path

from gcesbi.analysis.settings import RunSettings, load_settings
from gcesbi.errors import InputError
from gcesbi.io import FolderMaps
from paper import library
from paper.graph import Plan, Scale, Step
from paper.list2025.brighter import brighter
from paper.list2025.mock import Composition, theta
from paper.list2025.skies import skies_plan

__all__ = ["MOCK_SEED", "ONE_BIN", "SIZES", "Sizes", "plans"]

MOCK_SEED = 2025
COMPOSITION = Composition()
ONE_BIN = "fermi-573w"
"""Folder of the maps of one bin, beside that of several."""


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
    real_changes : tuple of str
        Of the preset, for runs on the real map.
    nptf_nside : int
        Of NPTFs that stand alone.
    poisson_fraction, gate, misspecification, poisson_excess, brighter : int
        Maps for the network of the Poisson share, the gate, every other sky, the exactly Poisson sky, and every mock of
        a brighter excess.
    ten : tuple of str
        Changes for the run ``ten`` alone.
    akin : tuple of str
        Changes for runs whose sky is like one that networks ship for: it need not be learnt from nothing.
    onward : tuple of str
        Changes for runs on the real map whose sky is like that of ``real_o``: they go on with its weights. Without any
        they learn from nothing.
    shipped : bool
        Ask the networks that ship, too; otherwise ``ten`` has them, or their sky is another.
    """

    preset: str
    changes: tuple[str, ...] = ()
    real_nside: int
    real_changes: tuple[str, ...] = ()
    nptf_nside: int = 128
    poisson_fraction: int
    gate: int
    misspecification: int
    poisson_excess: int = 100
    brighter: int = 64
    ten: tuple[str, ...] = ()
    akin: tuple[str, ...] = ()
    onward: tuple[str, ...] = ()
    shipped: bool = False


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
        nptf_nside=16,
        poisson_fraction=128,
        gate=1200,
        misspecification=100,
        poisson_excess=8,
        brighter=8,
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
        shipped=True,
    ),
    "default": Sizes(
        preset="default",
        real_nside=64,
        poisson_fraction=16_384,
        gate=3072,
        misspecification=1000,
        ten=('training.start="shipped"',),  # of the very sky: they are taken as they are
        akin=('training.start="shipped"', "simulation.n_train=98304"),  # they get a quarter of the presentations
        onward=(
            "simulation.n_train=98304",
            "training.max_maps=204800",
            "training.head_maps=24576",
            "training.learning_rate=5e-4",
        ),
    ),
    "paper": Sizes(
        preset="paper",
        changes=("training.workers=8",),
        real_nside=128,
        real_changes=("network.widths=[32, 64, 128, 256, 256, 256, 256]",),  # down to nside 1, from 128
        poisson_fraction=65_536,
        gate=6144,
        misspecification=1000,
    ),
}


LEARN = (library.simulate(), *library.train(), library.evaluate())


def plans(scale: Scale, data: Path, folder: Path) -> tuple[Plan, ...]:
    """All runs at a scale; `folder` will hold them, `data` is that of the real 573-week map, of one bin or several."""
    sizes, real = SIZES[scale], _several(data)
    one = data.with_name(ONE_BIN) if real else data
    about = (
        "real 573-week map in several energy bins, Model O, {}"
        if real
        else f"mock sky of the paper's best-fit composition (drawn with seed {MOCK_SEED}), {{}}"
    )
    looked_at = _Nominal(sizes, data if real else None, about)
    epochs = _epochs(sizes, folder)
    shipped = (_shipped_plan(sizes),) if sizes.shipped else ()
    return (
        *_nominal_plans(looked_at, one, folder),
        *shipped,
        skies_plan(data, folder, sizes.misspecification),
        *epochs,
        *_real_plans(sizes, one, folder),
    )


def _several(data: Path) -> bool:
    """Whether a data folder has several energy bins; not if it is none."""
    try:
        return len(FolderMaps.of(data).energy_edges) > 2
    except (InputError, OSError):
        return False


@dataclass(frozen=True)
class _Nominal:
    """The nominal sky: that of a real map in several bins, or a mock of the built-in one."""

    sizes: Sizes
    data: Path | None
    about: str

    def plan(self, name: str, about: str, changes: tuple[str, ...], steps: tuple[Step, ...], *needs: str) -> Plan:
        """A run of it."""
        settings = _settings(self.sizes, *changes) if self.data is None else self._of_folder(*changes)
        return library.library_plan(name, self.about.format(about), settings, steps, needs=needs, data=self.data)

    def _of_folder(self, *changes: str) -> RunSettings:
        assert self.data is not None
        return _real_settings(self.sizes, self.data, *changes)

    @property
    def observe(self) -> Step:
        """What is looked at."""
        return _mock() if self.data is None else library.observe_folder(self.data)


def _nominal_plans(nominal: _Nominal, one: Path, folder: Path) -> tuple[Plan, ...]:
    sizes = nominal.sizes
    stored = (f'simulation.store="{(folder / "ten" / "simulations").resolve()}"',)
    same_map = library.observe_like(folder / "ten")
    share = (library.poisson_fraction(sizes.poisson_fraction), _brighter(sizes))
    known = (library.fit_poisson(), library.poisson_excess(sizes.poisson_excess), library.gate(sizes.gate))
    ten = (*LEARN, library.examples(), nominal.observe, *share, library.infer(), *known)
    twin = (*LEARN, same_map, *share, library.infer())
    jitter = (*LEARN, same_map, library.infer(), library.fit_poisson())
    return (
        nominal.plan("ten", "energy-dependent networks", sizes.ten, ten),
        nominal.plan("summed", "energy-independent networks", ('network.energy="summed"', *stored), twin, "ten"),
        nominal.plan(
            "jitter",
            "networks trained on spectra that scatter by 50 %",
            ("sky.spectral_jitter=0.5", *sizes.akin),
            jitter,
            "ten",
        ),
        _one_bin_plan(nominal, one, folder),
    )


def _shipped_plan(sizes: Sizes) -> Plan:
    """The networks that ship, which nothing need be learnt for."""
    wanted = ("simulation.n_train=64", "simulation.n_test=512", 'training.start="shipped"')
    asked = (_mock(), library.infer(), library.fit_poisson(), _brighter(sizes))
    about = f"mock sky of the paper's best-fit composition (drawn with seed {MOCK_SEED}), networks that ship"
    return library.library_plan("shipped", about, load_settings("default", wanted), (*LEARN, *asked))


def _one_bin_plan(nominal: _Nominal, one: Path, folder: Path) -> Plan:
    about, name = "networks of one energy bin", "one_bin"
    if nominal.data is not None:
        steps = (*LEARN, library.observe_folder(one), library.infer())
        return library.library_plan(
            name, nominal.about.format(about), _real_settings(nominal.sizes, one), steps, data=one
        )
    steps = (*LEARN, library.observe_summed(folder / "ten"), library.infer())
    return nominal.plan(name, about, ("sky.n_energy=1",), steps, "ten")


def _epochs(sizes: Sizes, folder: Path) -> tuple[Plan, ...]:
    """Mocks of 812 weeks, and of 567 of them."""
    thinned = library.observe_thinned(folder / "weeks_812", 567 / 812, MOCK_SEED)
    wanted: dict[int, tuple[Step, tuple[str, ...]]] = {812: (_mock(), ()), 567: (thinned, ("weeks_812",))}
    return tuple(
        library.library_plan(
            f"weeks_{weeks}",
            f"mock sky of the paper's best-fit composition (drawn with seed {MOCK_SEED}), {weeks} weeks of observation",
            _settings(sizes, f"sky.weeks={_weeks(sizes, weeks)}", *sizes.akin),
            (*LEARN, observe, library.infer(), library.fit_poisson()),
            needs=needs,
        )
        for weeks, (observe, needs) in wanted.items()
    )


def _real_plans(sizes: Sizes, data: Path, folder: Path) -> tuple[Plan, ...]:
    observe = library.observe_folder(data)
    fitted = (library.infer(), library.fit_poisson(), library.fit_nptf())
    full = f"sky.nside={sizes.nptf_nside}"
    gate, share = library.gate(sizes.gate), (library.poisson_fraction(sizes.poisson_fraction), _brighter(sizes))
    model_a, bright, single = 'sky.diffuse="A"', "sky.gce_xi_low=-12.0", "sky.gce_populations=1"
    learn = (library.simulate(), *library.train(start=folder / "real_o" if sizes.onward else None), library.evaluate())
    like_o: dict[str, tuple[str, str, tuple[Step, ...]]] = {
        "real_a": ("Model A", model_a, (*fitted, gate)),
        "real_bright": ("Model O, ξ of the excess at least −12", bright, (library.infer(),)),
        "real_single": ("Model O, excess of one population", single, (library.infer(),)),
    }
    wanted: dict[str, tuple[str, tuple[str, ...], tuple[Step, ...]]] = {
        "real_o": ("Model O", (), (*LEARN, observe, *share, *fitted, gate)),
        "nptf_o": ("Model O, NPTF alone", (full,), (observe, library.fit_nptf())),
        "p6v11": ("p6v11, NPTF of 2016", (full, 'sky.diffuse="p6v11"'), (observe, library.fit_nptf_2016())),
        **{
            name: (about, (change, *sizes.onward), (*learn, observe, *steps))
            for name, (about, change, steps) in like_o.items()
        },
    }
    return tuple(
        library.library_plan(
            name,
            f"real 573-week map, {about}",
            _real_settings(sizes, data, *changes),
            steps,
            needs=("real_o",) if name in like_o and sizes.onward else (),
            data=data,
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
    return load_settings(sizes.preset, (*own, *sizes.real_changes, *changes), sky=sky)
