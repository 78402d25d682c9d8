"""The paper's quoted numbers beside ours, on the same definition, as a table in Markdown; nothing is tuned to agree."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gcesbi.physics.scd import DEFAULT_BINS
from paper.graph import Scale
from paper.list2025.brighter import SHIFTS
from paper.list2025.mock import Composition
from paper.panels import emd, emd_of_medians
from paper.view import RunView

__all__ = ["results"]

Views = Mapping[str, RunView]
Row = tuple[str, str, str, str, str]
Array = NDArray[np.float64]
COLUMNS = ("quantity", "paper", "ours", "on", "why it may differ")
UNLIKE = {
    "mock": "ours is a mock sky in ten bins: the paper's real maps in ten bins are not at hand",
    "dim": "the mock's excess is dim by construction, and has nothing of the real sky that its templates lack",
    "epochs": "two mock maps with sources and photons of their own, not one sky observed longer",
    "one": "ours sees one energy bin; the paper's figure comes from ten",
    "nptf": "not measured; other selection of data and other priors of the NPTF are our guess",
    "real": "nside, training and photons are not the paper's; finer pixels and longer training raise it "
    "(`paper/README.md`)",
}
UNLIKE["twins"] = f"{UNLIKE['dim']}; see below"


def results(folders: Mapping[str, Path], scale: Scale) -> str:
    """Table of all numbers whose runs are finished; the others are named."""
    views = {name: RunView.open(folder) for name, folder in folders.items()}
    rows, missing = [], []
    for needs, make, *words in ROWS:
        if lacking := [name for name in needs if name not in views]:
            missing += lacking
        else:
            rows += make(*(views[name] for name in needs), *words)
    parts = [
        f"# Quoted numbers of List et al. (2025), at scale {scale!r}",
        _preamble(views, scale),
        _table(COLUMNS, rows),
        _notes(),
        "## Would the networks tell a brighter excess?",
        _brighter_text(views),
        _table(_BRIGHTER, _brighter(views)),
        "## How good the networks are",
        _table(("run", "source counts of", *_QUALITY), _quality(views)),
        "## What it cost",
        "Processor seconds of the command's process.",
        _table(("run", *_STEPS, "all"), _costs(views)),
    ]
    if missing:
        parts.append(f"Runs that are not finished, and whose rows are missing: {', '.join(dict.fromkeys(missing))}.")
    return "\n\n".join(parts) + "\n"


SHORT = (
    " At this scale networks are short of training: their source counts are over-confident (table below), and the "
    "numbers show that everything works together, not what the sky is made of."
)


def _preamble(views: Views, scale: Scale) -> str:
    sizes = "; ".join(
        f"`{name}` nside {view.sky['nside']}, {view.n_energy} bin{'s' if view.n_energy > 1 else ''}, "
        f"{view.settings['simulation']['n_train']} training maps, {view.settings['training']['max_maps']} presented, "
        f"seed {view.settings['seed']}"
        for name, view in views.items()
    )
    return (
        f"Made by `python -m paper --paper list2025 --scale {scale}`, {_origins(views)}; not edited by hand, and "
        "nothing was tuned to agree. Intervals are medians with 68 % unless said otherwise. The paper has nside 256, "
        f"ten bins and a million maps; runs here: {sizes}."
    ) + (SHORT if scale in ("test", "quick") else "")


def _origins(views: Views) -> str:
    """Commits, days and machines of the runs."""
    plans = [view.json("plan.json") for view in views.values()]
    keys = ("commit", "date", "machine")
    told = {key: ", ".join(dict.fromkeys(plan.get(key, "unknown") for plan in plans)) for key in keys}
    return f"at commit {told['commit']}, {told['date']}, on {told['machine']}"


# -- rows -----------------------------------------------------------------------------------------------------------


def _flux_share(view: RunView, method: str) -> str:
    answer = view.answer(method)  # type: ignore[arg-type]
    row = view.names.index("gce")
    return _interval([100 * answer.at("flux_fraction", level)[row] for level in (0.16, 0.5, 0.84)], "%")


def _shares(mock: RunView, real: RunView) -> list[Row]:
    name, quoted = "flux share of the excess", "≈ 7 %"
    flux = mock.true("flux").sum(axis=1)
    truth = 100 * flux[mock.names.index("gce")] / flux.sum()
    return [
        (name, quoted, _flux_share(mock, "networks"), "mock, ten bins", f"{UNLIKE['mock']}; true share {truth:.1f} %"),
        (name, quoted, _flux_share(real, "networks"), "real map, Model O", UNLIKE["one"]),
        (name, quoted, _flux_share(real, "poisson"), "real map, Model O, Poisson fit", UNLIKE["one"]),
        (name, quoted, _flux_share(real, "nptf"), "real map, Model O, NPTF", UNLIKE["one"]),
    ]


def _numbers(mock: RunView, real: RunView) -> list[Row]:
    rows = []
    for label, view, method, why in (
        ("mock, ten bins", mock, "networks", UNLIKE["mock"]),
        ("real map, Model O", real, "networks", UNLIKE["one"]),
        ("real map, Model O, NPTF", real, "nptf", "hundreds of sources by earlier NPTFs; " + UNLIKE["nptf"]),
    ):
        answer = view.answer(method)  # type: ignore[arg-type]
        j = view.source("gce")
        middle, low = (answer.at("n_sources", level)[j] for level in (0.5, 0.1))
        tails = [answer.at("n_sources", level)[j] for level in (0.16, 0.84)]
        if view.is_mock:
            why += f"; {view.true('n_sources')[j]:,.0f} were drawn, {_binned(view):,.0f} by the binned definition"
        ours = f"{_digits(middle)} ({_digits(tails[0])}–{_digits(tails[1])})"
        rows.append(("number of sources, median", "O(10⁵)", ours, label, why))
        rows.append(("number of sources, lower limit at 90 %", "35,000", _digits(low), label, why))
    return rows


def _binned(view: RunView) -> float:
    """Number of sources of a mock's truth, by the definition that posteriors use: Σ F p_i / F_i."""
    flux = view.true("flux")[view.names.index("gce")].sum()
    return float(flux * np.sum(view.true("scd")[view.source("gce")] / DEFAULT_BINS.flux))


def _excluded(view: RunView, quoted: str, label: str, why: str) -> list[Row]:
    share = view.answer().more["poisson_share"]
    warned = "; extrapolates: dimmer than 99 % of its training" if share["extrapolates"] else ""
    ours = f"{100 * share['excluded_95']:.1f} %"
    told = f"{why}; {_would_exclude(view)}{warned}"
    return [("Poisson share of the excess that is excluded at 95 %", quoted, ours, label, told)]


def _would_exclude(view: RunView) -> str:
    """What the same network says of the brightest mocks."""
    excluded = 100 * np.median(view.arrays("brighter")["excluded"][-1])
    return (
        f"of mocks whose excess is {SHIFTS[-1]:g} dex brighter than the mock's, it excludes {excluded:.0f} % (median)"
    )


def _split(view: RunView) -> list[Row]:
    share = 100 * view.arrays("nptf")["point_sources_of_flux"][:, view.source("gce")]
    levels = view.answer("nptf").levels
    low, middle, high = (share[int(np.argmin(np.abs(levels - level)))] for level in (0.16, 0.5, 0.84))
    problems = view.answer("nptf").more["problems"]
    told = "; ".join((UNLIKE["nptf"], *problems))
    ours = f"{middle:.0f} % / {100 - middle:.0f} % ({low:.0f}–{high:.0f} %)"
    return [("NPTF: point sources / smooth, of the excess", "54 % / 46 % (2024)", ours, "real map, Model O", told)]


def _distances(one: RunView, two: RunView, name: str, quoted: str, why: str) -> list[Row]:
    taus = (0.15, 0.5, 0.85)
    found = [emd_of_medians(one, two, "gce", tau) for tau in taus]
    ours = f"{found[1]:.2f} (between the curves of τ = 0.15: {found[0]:.2f}, of τ = 0.85: {found[2]:.2f})"
    return [(name, quoted, f"{ours} bins", f"mock, `{one.folder.name}` and `{two.folder.name}`", why)]


def _peak(view: RunView, quoted: str, label: str) -> list[Row]:
    peaks = [10 ** view.scd_centres[view.curve("f2dndf", "gce", tau).argmax()] for tau in (0.15, 0.5, 0.85)]
    ours = f"{peaks[1]:.1e} ({peaks[0]:.1e}–{peaks[2]:.1e}) = {peaks[1] / view.photon_flux:.2f} photons"
    why = "peak of the curves of τ = 0.5 (0.15, 0.85), known to a bin of 0.25 dex"
    return [(PEAK, quoted, ours, label, why)]


def _nptf_peak(view: RunView) -> list[Row]:
    median = view.arrays("nptf")["f2dndf"][1, view.source("gce")]
    peak = 10 ** view.scd_centres[median.argmax()]
    ours = f"{peak:.1e} = {peak / view.photon_flux:.1f} photons"
    return [(PEAK, "above one photon", ours, "real map, Model O, NPTF", UNLIKE["nptf"])]


PEAK = "peak of F² dN/dF, photons cm⁻² s⁻¹"
ROWS: tuple[Any, ...] = (  # runs, what makes rows of them, and its words
    (("ten", "real_o"), _shares),
    (("ten", "real_o"), _numbers),
    (("ten",), _excluded, "3 %", "mock, with energies", UNLIKE["mock"]),
    (("summed",), _excluded, "34 %", "mock, without energies", UNLIKE["dim"]),
    (("real_o",), _excluded, "34 %", "real map, Model O, one bin", UNLIKE["real"]),
    (("real_o",), _split),
    (("ten", "summed"), _distances, "EMD between networks with and without energy", "3.3 bins", UNLIKE["twins"]),
    (("weeks_567", "weeks_812"), _distances, "EMD between epochs of 567 and 812 weeks", "1.6 bins", UNLIKE["epochs"]),
    (("ten",), _peak, "at or below one photon", "mock, with energies"),
    (("summed",), _peak, "above one photon", "mock, without energies"),
    (("real_o",), _peak, "above one photon", "real map, Model O, one bin"),
    (("real_o",), _nptf_peak),
)


# -- brighter skies -------------------------------------------------------------------------------------------------

_BRIGHTER = (
    "ξ of the excess",
    "peak, photons",
    "run",
    "EMD to the truth",
    "Poisson share excluded at 95 %",
    "EMD to `ten`",
)


def _brighter(views: Views) -> list[tuple[str, ...]]:
    """One row a brightness and run: medians and central 68 % over mock maps."""
    stored = {name: views[name].arrays("brighter") for name in ("ten", "summed", "real_o") if name in views}
    rows: list[tuple[str, ...]] = []
    for k, shift in enumerate(SHIFTS):
        for name, found in stored.items():
            other = _spread(emd(found["median"][k], stored["ten"]["median"][k])) if _twins(name, stored) else ""
            share = _spread(100 * found["excluded"][k], 0, " %")
            away = _spread(emd(found["median"][k], found["truth"][k]))
            rows.append((f"{shift:+.1f} dex", _peak_in_photons(views[name], shift), f"`{name}`", away, share, other))
    return rows


def _brighter_text(views: Views) -> str:
    """What is asked, and how far twins are apart all over the prior."""
    told = (
        "Mocks of the same composition but for ξ of the excess, moved up; the networks are those of the table above. "
        "Medians and central 68 % over maps; the peak is that of F² dN/dF."
    )
    if not {"ten", "summed"} <= set(views):
        return told
    apart = emd(*(views[name].arrays("brighter")["held_out"] for name in ("ten", "summed")))
    return (
        f"{told} On the {len(apart)} held-out maps, drawn from the whole prior, median source counts of the excess "
        f"with and without energies are {_spread(apart)} bins apart; at least the paper's 3.3 bins on "
        f"{100 * np.mean(apart >= 3.3):.1f} % of them."
    )


def _twins(name: str, stored: Mapping[str, object]) -> bool:
    return name == "summed" and "ten" in stored


def _peak_in_photons(view: RunView, shift: float) -> str:
    """Of F² dN/dF: a Gaussian in log₁₀F about ξ, times F, peaks ω² ln 10 higher."""
    shape = Composition().excess_counts
    return f"{10 ** (shape.xi + shift + shape.omega2 * np.log(10)) / view.photon_flux:.2g}"


def _spread(values: Array, digits: int = 2, unit: str = "") -> str:
    low, middle, high = np.quantile(values, [0.16, 0.5, 0.84])
    return f"{middle:.{digits}f}{unit} ({low:.{digits}f}–{high:.{digits}f})"


# -- quality and cost -----------------------------------------------------------------------------------------------

_QUALITY = ("coverage at 0.68", "at 0.95", "width of 95 %", "SEMD, median", "SEMD, half of 68 %", "EMD, mean")


def _quality(views: Views) -> list[tuple[str, ...]]:
    rows = []
    for name, view in views.items():
        stored = view.arrays("evaluation")
        for source in view.point_sources:
            key = f"source counts/{source}"
            alphas, covered = stored[f"{key}/alphas"], stored[f"{key}/coverage"]
            at = [covered[int(np.argmin(np.abs(alphas - level)))] for level in (0.68, 0.95)]
            distance = stored[f"{key}/semd"]
            half = float(np.diff(np.quantile(distance, [0.16, 0.84]))[0]) / 2
            numbers = (
                *at,
                np.median(stored[f"{key}/sharpness"]),
                np.median(distance),
                half,
                stored[f"{key}/emd"].mean(),
            )
            rows.append((f"`{name}`", source, *(f"{value:.2f}" for value in numbers)))
    return rows


_STEPS = (
    "simulate",
    "train-spectra",
    "train-source-counts",
    "evaluate",
    "poisson-fraction",
    "gate",
    "misspecification",
    "fit-nptf",
)


def _costs(views: Views) -> list[tuple[str, ...]]:
    """Processor seconds of every run, by step; at least that much where a step was interrupted."""
    rows, total, cut = [], 0.0, False
    for name, view in views.items():
        steps = {path.stem: view.step(path.stem) for path in (view.folder / "steps").glob("*.json")}
        cells = [_cost([steps[step]]) if step in steps else "" for step in _STEPS]
        rows.append((f"`{name}`", *cells, _cost(list(steps.values()))))
        total += sum(step["cpu_seconds"] for step in steps.values())
        cut |= any(step["resumed"] for step in steps.values())
    return [*rows, ("all", *("" for _ in _STEPS), f"{'≥ ' if cut else ''}{total / 60:.1f} min")]


def _cost(steps: Sequence[Mapping[str, Any]]) -> str:
    cut = any(step["resumed"] for step in steps)
    return f"{'≥ ' if cut else ''}{sum(step['cpu_seconds'] for step in steps):.0f} s"


def _notes() -> str:
    return (
        "**Definitions.** Number of sources: Σ_i F_tot p_i / F_i over the bins of the source counts, so sources "
        "below one photon weigh most. Excluded Poisson share: 1 less the 95 % quantile of the share, by the "
        "network that reads the median source counts. Earth mover's distance: Σ_i |P_i − Q_i| of two median "
        "cumulative source counts, in bins of 0.25 dex. The split of the NPTF is read as point sources / smooth."
    )


# -- text -----------------------------------------------------------------------------------------------------------


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _interval(values: Sequence[float], unit: str) -> str:
    low, middle, high = values
    return f"{middle:.1f} {unit} ({low:.1f}–{high:.1f})"


def _digits(value: float) -> str:
    """Two significant digits."""
    digits = int(np.floor(np.log10(max(value, 1e-9)))) - 1
    return f"{round(value / 10.0**digits) * 10.0**digits:,.0f}"
