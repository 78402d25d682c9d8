"""The paper's quoted numbers beside ours, on the same definition, as a table in Markdown; nothing is tuned to agree."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gcesbi.analysis.start import AS_SHIPPED, FROM_SCRATCH
from gcesbi.estimators import read_notes
from gcesbi.physics.scd import DEFAULT_BINS
from paper.graph import Scale
from paper.list2025.brighter import SHIFTS
from paper.list2025.figure_s15 import differences
from paper.list2025.mock import Composition
from paper.panels import emd, emd_of_medians
from paper.quoted import COLUMNS, markdown_table, origins
from paper.view import RunView

__all__ = ["results"]

Views = Mapping[str, RunView]
Row = tuple[str, str, str, str, str]
Array = NDArray[np.float64]
UNLIKE = {
    "mock": "ours is a mock sky in ten bins: the paper's real maps in ten bins are not at hand",
    "dim": "the mock's excess is dim by construction, and has nothing of the real sky that its templates lack",
    "epochs": "a mock map and its thinning; the paper has real maps of both epochs",
    "one": "ours sees one energy bin; the paper's figure comes from ten",
    "nptf": "not tested; other selection of data, and of 2016 less of it",
    "real": "34 % is List et al. (2021): 567 weeks, ξ ≥ −12. What closes it is asked by `--paper reasons`",
    "bright": "the prior of List et al. (2021): against the row above, what the lower end of ξ does",
    "skies": "fresh maps of both skies, by `ten` and `summed`; the paper says it of the real map",
}
UNLIKE["twins"] = f"{UNLIKE['dim']}; see below"


def results(folders: Mapping[str, Path], scale: Scale) -> str:
    """Table of all numbers whose runs are finished; the others are named."""
    skies = folders.get("skies")
    views = {name: RunView.open(folder) for name, folder in folders.items() if name != "skies"}
    rows, missing = [], []
    for needs, make, *words in ROWS:
        if make in ALONE and needs == ("ten",) and "shipped" in views:
            needs = ("shipped",)  # better trained, on the same mock
        if lacking := [name for name in needs if name not in views]:
            missing += lacking
        else:
            rows += make(*(views[name] for name in needs), *words)
    if skies is None:
        missing.append("skies")
    else:
        rows += _model_a(skies)
    judged = {name: view for name, view in views.items() if "evaluate" in view.steps}
    parts = [
        f"# Quoted numbers of List et al. (2025), at scale {scale!r}",
        _preamble(views, scale),
        markdown_table(COLUMNS, rows),
        _notes(),
        "## Would the networks tell a brighter excess?",
        _brighter_text(views),
        markdown_table(_BRIGHTER, _brighter(views)),
        "## How good the networks are",
        markdown_table(("run", "source counts of", *_QUALITY), _quality(judged)),
        "## What it cost",
        "Processor seconds of the command's process.",
        markdown_table(("run", *_STEPS, "all"), _costs(views)),
    ]
    if missing:
        parts.append(f"Runs that are not finished, and whose rows are missing: {', '.join(dict.fromkeys(missing))}.")
    return "\n\n".join(parts) + "\n"


SHORT = (
    " At this scale networks are short of training: their source counts are over-confident (table below), and the "
    "numbers show that everything works together, not what the sky is made of."
)


def _preamble(views: Views, scale: Scale) -> str:
    sizes = "; ".join(_size(name, view) for name, view in views.items() if "evaluate" in view.steps)
    told = origins(view.json("plan.json") for view in views.values())
    return (
        f"Made by `python -m paper --paper list2025 --scale {scale}`, {told}; not edited by hand, and "
        "nothing was tuned to agree. Intervals are medians with 68 % unless said otherwise. The paper has nside 256, "
        f"ten bins and a million maps; runs here: {sizes}."
    ) + (SHORT if scale in ("test", "quick") else "")


def _size(name: str, view: RunView) -> str:
    notes = read_notes(view.folder / "weights" / "source_counts.safetensors")
    learnt, started = notes["history"], notes.get("started", FROM_SCRATCH)
    how = "" if started == FROM_SCRATCH else f" ({'' if started == AS_SHIPPED else 'from '}{started})"
    return (
        f"`{name}` nside {view.sky['nside']}, {view.n_energy} bin{'s' if view.n_energy > 1 else ''}, "
        f"{learnt['n_train'] + learnt['n_validation']:,} training maps, {learnt['maps']:,} presented{how}, "
        f"seed {view.settings['seed']}"
    )


# -- rows -----------------------------------------------------------------------------------------------------------


def _flux_share(view: RunView, method: str) -> str:
    answer = view.answer(method)  # type: ignore[arg-type]
    row = view.names.index("gce")
    return _interval([100 * answer.at("flux_fraction", level)[row] for level in (0.16, 0.5, 0.84)], "%")


def _shares(view: RunView, *methods: str) -> list[Row]:
    name, quoted, why = "flux share of the excess", "≈ 7 %", UNLIKE["one"]
    if view.n_energy > 1:
        why = UNLIKE["mock"] if view.is_mock else OWN
    if view.is_mock:
        flux = view.true("flux").sum(axis=1)
        why = f"{why}; true share {100 * flux[view.names.index('gce')] / flux.sum():.1f} %"
    return [(name, quoted, _flux_share(view, method), f"{_on(view)}, {method}", why) for method in methods]


def _on(view: RunView) -> str:
    return f"{'mock' if view.is_mock else 'real map'}, `{view.folder.name}`"


def _numbers(view: RunView, why: str = "") -> list[Row]:
    why = why or (UNLIKE["one"] if view.n_energy == 1 else UNLIKE["mock"] if view.is_mock else OWN)
    if view.is_mock:
        drawn = view.true("n_sources")[view.source("gce")]
        why += f"; {drawn:,.0f} were drawn, {_binned(view):,.0f} by the binned definition"
    return _number(view, "networks", "200,000", "35,000", _on(view), why)


def _number(view: RunView, method: str, quoted: str, limit: str, label: str, why: str) -> list[Row]:
    """Median and lower limit of the number of the excess' sources."""
    answer, j = view.answer(method), view.source("gce")  # type: ignore[arg-type]
    middle, low, *tails = (answer.at("n_sources", level)[j] for level in (0.5, 0.1, 0.16, 0.84))
    ours = f"{_digits(middle)} ({_digits(tails[0])}–{_digits(tails[1])})"
    return [
        ("number of sources, median", quoted, ours, label, why),
        ("number of sources, lower limit at 90 %", limit, _digits(low), label, why),
    ]


def _nptf(view: RunView, split: str, numbers: str, peak: str, label: str) -> list[Row]:
    """An NPTF's split of the excess, number of sources and peak."""
    problems = "; ".join((UNLIKE["nptf"], *view.answer("nptf").more["problems"]))
    label = f"{_on(view)} at nside {view.sky['nside']}, NPTF, {label}"
    number, _ = _number(view, "nptf", numbers, "–", label, problems)
    median = view.arrays("nptf")["f2dndf"][1, view.source("gce")]
    flux = 10 ** view.scd_centres[median.argmax()]
    at = f"{flux:.1e} = {flux / view.photon_flux:.1f} photons"
    return [_split(view, split, label, problems), number, (PEAK, peak, at, label, problems)]


def _binned(view: RunView) -> float:
    """Number of sources of a mock's truth, by the definition that posteriors use: Σ F p_i / F_i."""
    flux = view.true("flux")[view.names.index("gce")].sum()
    return float(flux * np.sum(view.true("scd")[view.source("gce")] / DEFAULT_BINS.flux))


def _excluded(view: RunView, quoted: str, label: str, why: str) -> list[Row]:
    share = view.answer().more["poisson_share"]
    warned = "; extrapolates: dimmer than 99 % of its training" if share["extrapolates"] else ""
    ours = f"{100 * share['excluded_95']:.1f} %"
    told = f"{why}; {_would_exclude(view)}{warned}"
    return [("Poisson share of the excess that is excluded at 95 %", quoted, ours, f"{_on(view)}, {label}", told)]


def _would_exclude(view: RunView) -> str:
    """What the same network says of the brightest mocks."""
    excluded = 100 * np.median(view.arrays("brighter")["excluded"][-1])
    return (
        f"of mocks whose excess is {SHIFTS[-1]:g} dex brighter than the mock's, it excludes {excluded:.0f} % (median)"
    )


def _split(view: RunView, quoted: str, label: str, why: str) -> Row:
    share = 100 * view.arrays("nptf")["point_sources_of_flux"][:, view.source("gce")]
    levels = view.answer("nptf").levels
    low, middle, high = (share[int(np.argmin(np.abs(levels - level)))] for level in (0.16, 0.5, 0.84))
    ours = f"{middle:.0f} % / {100 - middle:.0f} % ({low:.0f}–{high:.0f} %)"
    return ("NPTF: point sources / smooth, of the excess", quoted, ours, label, why)


def _hatched(view: RunView) -> list[Row]:
    """Up to which level the source counts are dimmer than the network of the Poisson share has seen."""
    found = view.answer().more["poisson_share"]["by_tau"]
    beyond = [tau for tau, dim in zip(found["taus"], found["extrapolates"], strict=True) if dim]
    ours = f"τ ≤ {max(beyond):.2f}" if beyond else f"none of {min(found['taus']):.2f} to {max(found['taus']):.2f}"
    why = "the criterion is ours: dimmer than 99 % of its training"
    return [("source counts beyond the training of the Poisson share's network", "τ ≤ 0.35", ours, _on(view), why)]


def _model_a(skies: Path) -> list[Row]:
    """How far networks with and without energies are apart under Model A, and nominally."""
    spread = {sky: f"{_spread(values)} bins" for sky, values in differences(skies, "gce", "semd").items()}
    name, quoted = "signed distance with energies less that without", "Model A “closer to the energy-independent”"
    return [(name, quoted, ours, f"maps of sky {sky!r}", UNLIKE["skies"]) for sky, ours in spread.items()]


def _distances(one: RunView, two: RunView, name: str, quoted: str, why: str) -> list[Row]:
    taus = (0.15, 0.5, 0.85)
    found = [emd_of_medians(one, two, "gce", tau) for tau in taus]
    ours = f"{found[1]:.2f} (between the curves of τ = 0.15: {found[0]:.2f}, of τ = 0.85: {found[2]:.2f})"
    return [(name, quoted, f"{ours} bins", f"mock, `{one.folder.name}` and `{two.folder.name}`", why)]


def _peak(view: RunView, quoted: str, label: str) -> list[Row]:
    peaks = [10 ** view.scd_centres[view.curve("f2dndf", "gce", tau).argmax()] for tau in (0.15, 0.5, 0.85)]
    ours = f"{peaks[1]:.1e} ({peaks[0]:.1e}–{peaks[2]:.1e}) = {peaks[1] / view.photon_flux:.2f} photons"
    why = f"peak of the curves of τ = 0.5 (0.15, 0.85), known to a bin of {BIN:.3f} dex"
    return [(PEAK, quoted, ours, f"{_on(view)}, {label}", why)]


BIN = DEFAULT_BINS.width
PEAK = "peak of F² dN/dF, photons cm⁻² s⁻¹"
ROWS: tuple[Any, ...] = (  # runs, what makes rows of them, and its words
    (("ten",), _shares, "networks", "poisson"),
    (("real_o",), _shares, "networks", "poisson", "nptf"),
    (("ten",), _numbers),
    (("real_o",), _numbers),
    (("real_bright",), _numbers, UNLIKE["bright"]),
    (("ten",), _excluded, "3 %", "with energies", UNLIKE["mock"]),
    (("summed",), _excluded, "34 % (2021)", "without energies", UNLIKE["dim"]),
    (("real_o",), _excluded, "34 % (2021)", "Model O, one bin", UNLIKE["real"]),
    (("ten",), _hatched),
    (("real_o",), _nptf, "54 % / 46 % (2024)", "–", "above one photon", "Model O"),
    (("nptf_o",), _nptf, "54 % / 46 % (2024)", "–", "above one photon", "Model O"),
    (("p6v11",), _nptf, "–", "≈ 200 (2016)", "above one photon", "p6v11, priors of 2016"),
    (("ten", "summed"), _distances, "EMD between networks with and without energy", "3.3 bins", UNLIKE["twins"]),
    (("weeks_567", "weeks_812"), _distances, "EMD between epochs of 567 and 812 weeks", "1.6 bins", UNLIKE["epochs"]),
    (("ten",), _peak, "at or below one photon", "with energies"),
    (("summed",), _peak, "3–4 photons (2021)", "without energies"),
    (("real_o",), _peak, "3–4 photons (2021)", "Model O, one bin"),
)
ALONE = (_shares, _numbers, _excluded, _hatched, _peak)
"""What is told of the networks with energies by themselves, not beside their twins."""
OWN = "the paper's quantity"


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
    stored = {name: views[name].arrays("brighter") for name in ("ten", "shipped", "summed", "real_o") if name in views}
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
    "examples",
    "gate",
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
        f"cumulative source counts, in bins of {BIN:.3f} dex. The split of the NPTF is read as point sources / smooth."
    )


# -- text -----------------------------------------------------------------------------------------------------------


def _interval(values: Sequence[float], unit: str) -> str:
    low, middle, high = values
    return f"{middle:.1f} {unit} ({low:.1f}–{high:.1f})"


def _digits(value: float) -> str:
    """Two significant digits."""
    digits = int(np.floor(np.log10(max(value, 1e-9)))) - 1
    return f"{round(value / 10.0**digits) * 10.0**digits:,.0f}"
