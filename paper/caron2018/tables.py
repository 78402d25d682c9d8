"""The paper's tables from a run, as markdown; no number here is the paper's but those named so."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np

from gcesbi.analysis.evaluate import binned_errors, learning_curve
from gcesbi.analysis.fit import read_template_fits
from gcesbi.analysis.run import Run
from gcesbi.baselines.poisson.halo_slope import SlopeFit
from gcesbi.report.images import slope_text, with_error
from gcesbi.simulation.image_settings import CROSS_SECTIONS, FITTED_SLOPE
from gcesbi.simulation.sky_settings import INTERSTELLAR
from paper.caron2018.collect import TITLES, Collected, interstellar_label
from paper.quoted import COLUMNS, markdown_table, origins

__all__ = ["accuracy", "images_needed", "methods", "quoted", "results", "table_1", "table_3"]

UNIT = 1e-27
LEVELS = ("1σ", "2σ", "3σ", "largest")
METHODS = {
    "prior": "the prior",
    "ridge": "ridge regression on ring moments",
    "full": "full image, binned errors",
    "halves": "mean of halves, binned errors",
    "all": "mean of all five, binned errors",
    "quantiles": "quantiles",
    "npe": "joint posterior",
    "npe_slope": "joint posterior, slope known",
}
KEYS = ("rmse", "coverage_68", "width_68", "crps")


def results(folders: Mapping[str, Path], scale: str = "") -> str:
    """The paper's quoted numbers beside ours, then everything that the run gives in numbers, as one document.

    Without a `scale` the run is any of ``gcesbi images``, whose commit, day and machine nobody kept.
    """
    head = f"# Quoted numbers of Caron et al. (2018){f', at scale {scale!r}' if scale else ''}\n\n"
    if "images" not in folders:
        return head + "The run `images` is not finished: nothing to tell yet.\n"
    folder = folders["images"]
    each = (table_1, accuracy, methods, table_3, images_needed)
    parts = (_preamble(folder, scale), quoted(folder), *(make(folder) for make in each))
    return head + "\n\n".join(parts) + "\n"


def _preamble(folder: Path, scale: str) -> str:
    run = Run.open(folder)
    sky, maps = run.settings.sky_of_images, run.settings.simulation
    learnt = "mixtures of the training models, as many as" if run.settings.interstellar.mix else "images:"
    made = f"Made by `python -m paper.caron2018 {folder}`"
    if scale:
        made = f"Made by `python -m paper --paper caron2018 --scale {scale}`, {origins([run.read_json('plan.json')])}"
    short = " At this scale images are coarse and networks short of training." if scale in ("test", "quick") else ""
    return (
        f"{made}; not edited by hand, and nothing was tuned to agree. The paper has images of 120 × 120 pixels of "
        f"0.25°; run `{folder.name}` has {sky.shape[0]} × {sky.shape[1]} of {sky.pixel_size:g}°, seed "
        f"{run.settings.seed}; learnt from {learnt} {maps.n_train} for each training model, {maps.n_validation} held "
        f"out; {maps.n_test} of each testing model.{short} The paper's column holds what its text or tables were known "
        "to say when this was written, – where that is nothing."
    )


def quoted(folder: Path) -> str:
    """Errors of f_src, Table 1 and Table 3 in the paper's words beside ours."""
    rows = [*_quoted_errors(folder), *_quoted_fits(folder), *_quoted_bins(folder)]
    return markdown_table(COLUMNS, rows)


Row = tuple[str, str, str, str, str]
UNLIKE = {
    "error": "ours: root mean square, f_src uniform in [0, 1], ± Monte Carlo error; the paper's mean was not known",
    "half": "a half sees half of the image",
    "gamma": "ours: put in, found again by fits with the images' own model, ± scatter of images",
    "section": "ours: put in, found again likewise; the paper's: fitted to the real image",
    "bins": "over ten bins of the prediction, one by one below",
}
HALVES = ("left", "right", "top", "bottom")


def _quoted_errors(folder: Path) -> list[Row]:
    rows = []
    for held in Collected.read(folder).sets:
        on = f"`{folder.name}`, {held.name} images"
        for network in ("full", "halves", "all"):
            error = held.error(network)
            spread = np.std(error**2, ddof=1) / np.sqrt(error.size) / (2 * held.rmse(network))
            ours = f"{100 * held.rmse(network):.1f} ± {100 * spread:.1f} %"
            rows.append((f"error of f_src, {TITLES[network]}", "up to 10 %", ours, on, UNLIKE["error"]))
        each = [100 * held.rmse(name) for name in HALVES]
        rows.append(("error of f_src, each half", "–", f"{min(each):.1f}–{max(each):.1f} %", on, UNLIKE["half"]))
    return rows


def _quoted_fits(folder: Path) -> list[Row]:
    rows = []
    for name, fits in read_template_fits(folder).own.items():
        on = f"`{folder.name}`, {len(fits)} images of {interstellar_label(name)}"
        gamma, section = np.array([(fit.gamma, fit.cross_section / UNIT) for fit in fits]).T
        known = f"{CROSS_SECTIONS[name] / UNIT:.2f}" if name in CROSS_SECTIONS else "–"
        found = f"{gamma.mean():.3f} ± {_scatter(gamma):.3f}"
        rows.append(("inner slope γ", f"{FITTED_SLOPE:g}", found, on, UNLIKE["gamma"]))
        found = f"{section.mean():.1f} ± {_scatter(section):.1f}"
        rows.append(("<σv> (Table 1), 10⁻²⁷ cm³/s", known, found, on, UNLIKE["section"]))
    return rows


def _quoted_bins(folder: Path) -> list[Row]:
    run, rows = Run.open(folder), []
    for kind, testing in (("validation images", False), ("images of testing models", True)):
        found = binned_errors(run, testing)["halves"].errors
        for level, errors in zip(LEVELS, found, strict=True):
            ours = f"{np.nanmin(errors):.3f}–{np.nanmax(errors):.3f}"
            quantity = f"error of a prediction, {level} (Table 3), {TITLES['halves']}"
            rows.append((quantity, "–", ours, f"`{folder.name}`, {kind}", UNLIKE["bins"]))
    return rows


def table_1(folder: Path) -> str:
    """γ, <σv> and TS by interstellar model."""
    run, fits = Run.open(folder), read_template_fits(folder)
    right = fits.other[fits.drawn_from].log_likelihood
    model = run.images.model(run.images.training[0])

    def put_in(name: str) -> float:
        sky = run.images.sky_of(name)
        return sky.excess(sky.gamma[0], model.region, model.energy_edges).cross_section

    fitted = ("γ", "<σv>", "TS")
    columns = ("interstellar model", "sources, height, T_S", "<σv> put in", *fitted, *fitted, "Δ ln L")
    rows = [
        (
            interstellar_label(name),
            "{}, {:g} kpc, {:g} K".format(*INTERSTELLAR[name]) if name in INTERSTELLAR else "a map",
            f"{put_in(name) / UNIT:.2f}",
            *_mean_fit(own),
            *_one_fit(fits.other[name]),
            f"{fits.other[name].log_likelihood - right:.0f}",
        )
        for name, own in fits.own.items()
    ]
    number = max(len(own) for own in fits.own.values())
    real = [
        (interstellar_label(name), *_one_fit(fit), f"{fit.log_likelihood - best:.1f}")
        for best in [max((fit.log_likelihood for fit in fits.observed.values()), default=0.0)]
        for name, fit in fits.observed.items()
    ]
    seen = "\n\nThe real image; Δ ln L: less that of the best model.\n\n"
    observed = seen + markdown_table(("interstellar model", *fitted, "Δ ln L"), real) if real else ""
    return (
        "## Table 1: template fits\n\n<σv> in 10⁻²⁷ cm³/s; put in: the paper's Table 1. First γ, <σv>, TS: mean of "
        f"{number} images of each model, fitted with it, ± their scatter, in brackets the fit's own error. Last four: "
        f"one image of {interstellar_label(fits.drawn_from)}, fitted with each model, ± the fit's error; "
        "Δ ln L: less that of the right model.\n\n" + markdown_table(columns, rows) + observed
    )


def accuracy(folder: Path) -> str:
    """Root-mean-square error of f_src by network and set of images."""
    sets = Collected.read(folder).sets
    rows = [(title, *(f"{held.rmse(name):.3f}" for held in sets)) for name, title in TITLES.items()]
    return (
        "## Error of f_src\n\nRoot mean square, uniform in f_src; the paper: an error of up to 10 %.\n\n"
        + markdown_table(("network", *(held.name for held in sets)), rows)
    )


def table_3(folder: Path, network: str = "halves") -> str:
    """Errors by bin of the prediction, on images like those that were learnt from and on those of testing models."""
    run = Run.open(folder)
    kinds = {"validation images": binned_errors(run)[network], "testing models": binned_errors(run, True)[network]}
    rows = [
        (f"{low:.2f}–{high:.2f}", kind, str(int(found.number[k])), *(_number(value) for value in found.errors[:, k]))
        for k, (low, high) in enumerate(pairwise(kinds["validation images"].edges))
        for kind, found in kinds.items()
    ]
    return (
        f"## Table 3: errors of a prediction\n\n|predicted - true| of images not learnt from, {TITLES[network]}, by "
        "bin of the prediction; on those of the testing models beside those of the training models.\n\n"
        + markdown_table(("predicted f_src", "images of", "number", *LEVELS), rows)
    )


def methods(folder: Path) -> str:
    """Accuracy and calibration of the paper's way, of quantiles, and of the joint posterior with and without slope."""
    found = Run.open(folder).read_json("evaluation.json")
    rows = [
        (
            title,
            interstellar_label(name),
            slope,
            str(judged[method]["n"]),
            *(_number(judged[method][key]) for key in KEYS),
        )
        for slope, sets in found.items()
        for name, judged in sets.items()
        for method, title in METHODS.items()
        if method in judged
    ]
    return (
        "## Ways to state an error\n\nSlope fixed: images of the slope that all but the joint posterior learnt; free: "
        "of the slopes that the joint posterior learnt. Coverage and width: of the 68 % interval of f_src; CRPS: "
        "continuous ranked probability score.\n\n"
        + markdown_table(("method", "images", "slope", "number", "RMSE", "coverage", "width", "CRPS"), rows)
    )


def images_needed(folder: Path) -> str:
    """Accuracy against the number of training images."""
    curve = learning_curve(Run.open(folder))
    names = {name: interstellar_label(name) for name in curve.rmse}
    rows = [
        (str(int(n)), *(f"{curve.rmse[name][k]:.3f}" for name in names))
        for k, n in enumerate(np.asarray(curve.n_train))
    ]
    return "## Error of f_src against the number of training images\n\n" + markdown_table(
        ("training images", *names.values()), rows
    )


def _mean_fit(fits: Sequence[SlopeFit]) -> tuple[str, str, str]:
    gamma, section = np.array([(fit.gamma, fit.cross_section / UNIT) for fit in fits]).T
    errors = np.array([(fit.gamma_error, fit.cross_section_error / UNIT) for fit in fits])
    own = np.sqrt(np.nanmean(errors**2, axis=0)) if np.isfinite(errors).any(axis=0).all() else (np.nan, np.nan)
    statistic = np.mean([fit.test_statistic for fit in fits])
    return (
        f"{gamma.mean():.3f} ± {_scatter(gamma):.3f} ({own[0]:.3f})",
        f"{section.mean():.1f} ± {_scatter(section):.1f} ({own[1]:.1f})",
        f"{statistic:.0f}",
    )


def _scatter(values: np.ndarray) -> float:
    return float(values.std(ddof=1)) if values.size > 1 else float("nan")


def _one_fit(fit: SlopeFit) -> tuple[str, str, str]:
    section = with_error(fit.cross_section / UNIT, fit.cross_section_error / UNIT, 1)
    return slope_text(fit), section, f"{fit.test_statistic:.0f}"


def _number(value: float | None) -> str:
    return f"{value:.3f}" if value is not None and np.isfinite(value) else "–"
