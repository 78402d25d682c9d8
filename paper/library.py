"""Runs of the library as plans: settings of a run folder, and its steps with the numbers that figures read.

What a step leaves for figures lies in ``paper/`` inside the run folder, as JSON and NumPy archives, so that a figure
needs neither model nor network:

=====================  ==================================================================================
``sky.json``           names, energies, flux bins, solid angle, flux of one photon; the truth of a mock
``networks.json``      quantiles of all named quantities (:func:`gcesbi.report.tables.posterior_figures`)
``curves.npz``         source counts at :data:`CURVE_TAUS`, dim to bright
``poisson.json``       the Poisson fit, as ``networks.json``
``nptf.json/npz``      the NPTF, as ``networks.json``, and 68 % bands of its F² dN/dF
``evaluation.npz``     held-out maps: coverage curves, sharpness, (signed) Earth mover's distances
``examples.npz``       the first held-out maps one by one: spectra and source counts, answered and true
``poisson_excess.npz`` median quantiles of the source counts where the excess is exactly Poisson
=====================  ==================================================================================
"""

import json
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gcesbi.analysis import evaluate as evaluate_step
from gcesbi.analysis import fit as fit_step
from gcesbi.analysis import infer as infer_step
from gcesbi.analysis import injection as injection_steps
from gcesbi.analysis import simulate as simulate_step
from gcesbi.analysis import train as train_step
from gcesbi.analysis.gate import calibrate_gate
from gcesbi.analysis.observing import read_for
from gcesbi.analysis.poisson_fraction import train_poisson_fraction
from gcesbi.analysis.run import Run
from gcesbi.analysis.settings import RunSettings
from gcesbi.analysis.train import TRAINED
from gcesbi.baselines import NPTF, NptfPosterior, NptfPriors, PoissonFit, SamplingWarning
from gcesbi.errors import InputError
from gcesbi.estimators import PoissonFractionPosterior, SourceCountPosterior
from gcesbi.estimators.files import differences
from gcesbi.evaluation.networks import Evaluation
from gcesbi.evaluation.predictions import TAUS
from gcesbi.io.files import write_arrays
from gcesbi.physics.scd import cdf_to_pdf, pdf_to_f2dndf, true_cdf
from gcesbi.physics.spectra import e2dnde
from gcesbi.posterior import JointPosterior, Posterior
from gcesbi.report.tables import posterior_figures
from gcesbi.simulation import Simulations, SkyModel
from gcesbi.simulation.sky_settings import FolderSky
from gcesbi.sky import Observation
from paper.graph import Plan, Step, step, write_json

__all__ = [
    "CURVE_TAUS",
    "FOLDER",
    "LEVELS",
    "N_EXAMPLE",
    "PRIORS_2016",
    "SHARE_LEVELS",
    "evaluate",
    "evaluation_arrays",
    "examples",
    "fit_nptf",
    "fit_nptf_2016",
    "fit_poisson",
    "gate",
    "infer",
    "library_plan",
    "observe_folder",
    "observe_like",
    "observe_summed",
    "observe_theta",
    "observe_thinned",
    "plain",
    "poisson_excess",
    "poisson_fraction",
    "simulate",
    "train",
]

FOLDER = "paper"
"""Where figures look, inside a run folder."""

CURVE_TAUS = np.arange(1, 20) / 20
"""Quantile levels of the source counts that figures draw."""

LEVELS = (0.025, 0.05, 0.1, 0.16, 0.25, 0.5, 0.75, 0.84, 0.9, 0.95, 0.975)
SHARE_LEVELS = (0.7, 0.95)
"""Confidences at which the Poisson share is limited."""
N_EXAMPLE = 9
"""Held-out maps that are shown one by one."""
PRIORS_2016 = NptfPriors(indices=((2.05, 30.0), (-2.0, 1.95)), breaks=((0.05, 80.0),), brightness="amplitude")
"""One break, flat in log₁₀A, as in Lee et al. (2016, arXiv:1506.05124).

Indices and amplitudes have the ranges of NPTFit's published example on the Galactic Centre (its example 7), whose break
ends at 40 counts.
"""
_TAILS = (0.16, 0.5, 0.84)
_PLACES = ("path", "store")

Array = NDArray[np.float64]


def plain(settings: RunSettings) -> dict[str, Any]:
    """Settings as plain values, without the places where maps lie."""
    values = settings.model_dump(mode="json")
    return {
        section: {key: value for key, value in found.items() if key not in _PLACES}
        if isinstance(found, dict)
        else found
        for section, found in values.items()
    }


def library_plan(
    name: str,
    about: str,
    settings: RunSettings,
    wanted: Sequence[Step],
    *,
    needs: tuple[str, ...] = (),
    data: Path | None = None,
) -> Plan:
    """Plan of a run folder of the library."""
    return Plan(
        name=name,
        about=about,
        settings=plain(settings),
        begin=lambda folder: _begin(folder, settings),
        steps=tuple(wanted),
        needs=needs,
        data=data,
        completed=partial(_completed, settings),
    )


def _completed(settings: RunSettings, values: Mapping[str, Any]) -> Mapping[str, Any]:
    """Stored values with defaults for those that are not there; as they are where this version does not know them."""
    places = settings.model_dump(mode="json")
    whole = {
        section: {key: places[section][key] for key in _PLACES if key in places.get(section, {})} | found
        if isinstance(found, dict)
        else found
        for section, found in values.items()
    }
    try:
        return plain(RunSettings.model_validate(whole))
    except ValueError:
        return values


def _begin(folder: Path, settings: RunSettings) -> Run:
    if Run.exists(folder):
        run = Run.open(folder)
        if unlike := differences(plain(run.settings), plain(settings)):
            raise InputError(f"run: {str(folder)!r} was made otherwise; {'; '.join(unlike)}")
    else:
        run = Run.create(folder, settings, SkyModel.build(settings.sky_of_maps))
    (folder / FOLDER).mkdir(exist_ok=True)
    return run


# -- steps ----------------------------------------------------------------------------------------------------------


@step("simulate")
def simulate(run: Run) -> None:
    """Draw the maps that the settings ask for."""
    simulate_step.simulate(run, backend="threads")


def train(kinds: Sequence[str] = TRAINED, start: Path | None = None) -> tuple[Step, ...]:
    """Train networks, each a step: one that is trained is not trained again; `start` is a run whose weights go on."""

    def do(run: Run, kind: str) -> None:
        train_step.train(run, only=(kind,), start=None if start is None else Run.open(start))

    options = {} if start is None else {"start": start.name}
    return tuple(
        Step(name=f"train-{kind.replace('_', '-')}", do=partial(do, kind=kind), options=options) for kind in kinds
    )


@step("poisson-fraction")
def poisson_fraction(run: Run, n_maps: int) -> None:
    """Train the network for the Poisson share."""
    train_poisson_fraction(run, n_maps)


@step("evaluate")
def evaluate(run: Run) -> None:
    """Judge both networks on held-out maps."""
    found = evaluate_step.evaluate(run)
    details = None if found.details is None else found.details.to_dict()
    run.write_json("validation.json", {**found.to_dict(), "details": details})
    write_arrays(run.folder / FOLDER / "evaluation.npz", evaluation_arrays(found))


@step("examples")
def examples(run: Run, n_maps: int = N_EXAMPLE) -> None:
    """Ask the networks about the first held-out maps, one by one."""
    model, maps = run.model, run.store.read(0, n_maps)
    asked = [
        infer_step.infer(run, Observation(counts, model.exposure, model.energy_edges, model.region))
        for counts in maps.counts
    ]
    curves = [_curves(posterior) for posterior in asked]
    sources = [model.names.index(name) for name in model.point_sources]
    arrays: dict[str, Any] = {
        "true_spectrum": e2dnde(maps.flux, model.energy_edges),
        "spectrum": [posterior.quantiles("spectrum", _TAILS) for posterior in asked],
        "true_f2dndf": pdf_to_f2dndf(maps.scd, maps.flux[:, sources].sum(axis=-1), model.bins),
        "true_cdf": true_cdf(maps.scd),
        **{key: [each[key] for each in curves] for key in ("f2dndf", "scd_cdf")},
    }
    write_arrays(run.folder / FOLDER / "examples.npz", {key: np.asarray(each) for key, each in arrays.items()})


def observe_folder(data: Path) -> Step:
    """Store the observation of a data folder."""

    def do(run: Run) -> None:
        sky = run.settings.sky_of_maps
        mask = {"mask": sky.mask} if isinstance(sky, FolderSky) else {}
        _observed(run, read_for(sky, data, **mask), None)

    return Step(name="observe", do=do)


def observe_theta(theta: Callable[[SkyModel], Array], seed: int, options: Mapping[str, Any]) -> Step:
    """Draw a mock observation of the parameters that `theta` gives the run's model; `options` say which."""

    def do(run: Run) -> None:
        observation, truth = run.simulator.observe(theta(run.model), seed=seed)
        _observed(run, observation, _truth(truth))

    return Step(name="observe", do=do, options={"seed": seed, **options})


def observe_like(folder: Path) -> Step:
    """Take the observation of another run, and its truth."""

    def do(run: Run) -> None:
        _observed(run, *_observation_of(folder))

    return Step(name="observe", do=do, options={"of": folder.name})


def observe_thinned(folder: Path, share: float, seed: int) -> Step:
    """Keep each photon of another run's observation with probability `share`: the same sky, looked at for less time."""

    def do(run: Run) -> None:
        seen, truth = _observation_of(folder)
        counts = np.random.default_rng(seed).binomial(seen.counts, share)
        _observed(run, replace(seen, counts=counts, exposure=run.model.exposure), truth)

    return Step(name="observe", do=do, options={"of": folder.name, "share": share, "seed": seed})


def observe_summed(folder: Path) -> Step:
    """Take the observation of another run, all its energy bins in one."""

    def do(run: Run) -> None:
        seen, truth = _observation_of(folder)
        whole = (seen.counts.sum(axis=0, keepdims=True), run.model.exposure, run.model.energy_edges, seen.region)
        if truth is not None:
            truth = {**truth, "flux": np.sum(truth["flux"], axis=1, keepdims=True).tolist()}
        _observed(run, Observation(*whole), truth)

    return Step(name="observe", do=do, options={"of": folder.name, "summed": True})


def _observation_of(folder: Path) -> tuple[Observation, Mapping[str, Any] | None]:
    known = json.loads((folder / FOLDER / "sky.json").read_bytes())
    return Run.open(folder).observation(), known.get("truth")


@step("infer")
def infer(run: Run) -> None:
    """Ask the networks about the stored observation."""
    posterior = infer_step.infer(run, run.observation())
    run.write_posterior("networks", posterior)
    write_json(run.folder / FOLDER / "networks.json", {**posterior_figures(posterior, LEVELS), **_shares(posterior)})
    write_arrays(run.folder / FOLDER / "curves.npz", _curves(posterior))


@step("fit-poisson")
def fit_poisson(run: Run) -> None:
    """Fit Poisson templates to the stored observation."""
    posterior = PoissonFit(run.model, run.observation()).run().posterior()
    write_json(run.folder / FOLDER / "poisson.json", posterior_figures(posterior, LEVELS))


@step("fit-nptf")
def fit_nptf(run: Run) -> None:
    """Fit the NPTF to the stored observation; an interrupted fit goes on."""
    settings = run.settings
    _keep_nptf(
        run,
        fit_step.fit_nptf(run.model, run.observation(), settings.nptf, settings.seed, checkpoint=run.nptf_checkpoint),
    )


def fit_nptf_2016() -> Step:
    """Fit the NPTF with :data:`PRIORS_2016`."""

    def do(run: Run) -> None:
        fit = NPTF(run.model, run.observation(), PRIORS_2016)
        sampler, seed = run.settings.nptf.sampling(fit.target.n_dim), run.settings.seed
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SamplingWarning)
            _keep_nptf(run, fit.run(sampler, seed=seed, checkpoint=run.nptf_checkpoint, progress=False))

    return Step(name="fit-nptf", do=do, options={"priors": asdict(PRIORS_2016)})


def _keep_nptf(run: Run, posterior: NptfPosterior) -> None:
    run.write_posterior("nptf", posterior)
    problems = {"problems": list(posterior.convergence.problems)}
    write_json(run.folder / FOLDER / "nptf.json", {**posterior_figures(posterior, LEVELS), **problems})
    write_arrays(run.folder / FOLDER / "nptf.npz", _nptf_arrays(run.model, posterior))
    run.nptf_checkpoint.unlink(missing_ok=True)


@step("gate")
def gate(run: Run, n_maps: int, false_alarm: float = 0.01) -> None:
    """Calibrate the gate and ask it about the stored observation."""
    found = calibrate_gate(run, n_maps, false_alarm)
    run.write_json("gate.json", found.verdict(run.observation().counts).to_dict())


@step("poisson-excess")
def poisson_excess(run: Run, n_maps: int) -> None:
    """Reconstruct maps that are exactly Poisson, drawn from the best fit to the stored observation."""
    cdf = injection_steps.poisson_excess(run, run.observation(), n_maps)
    write_arrays(run.folder / FOLDER / "poisson_excess.npz", {"taus": TAUS, "scd_cdf": cdf})


# -- what figures read ----------------------------------------------------------------------------------------------


def evaluation_arrays(found: Evaluation) -> dict[str, Array]:
    """Coverage curves and sharpness of all quantities; SEMD and EMD of every map for each point-source template."""
    arrays: dict[str, Array] = {}
    reports = {f"spectrum/{name}": report for name, report in found.spectra.items()}
    reports |= {f"source counts/{name}": each.report for name, each in found.source_counts.items()}
    for name, report in reports.items():
        arrays |= {f"{name}/{key}": getattr(report.curve, key) for key in ("alphas", "coverage", "low", "high")}
    arrays |= {f"spectrum/{name}/sharpness": each for name, each in found.widths.items()}
    for name, each in found.source_counts.items():
        head = f"source counts/{name}"
        arrays |= {f"{head}/{key}": getattr(each, key) for key in ("sharpness", "semd", "emd")}
    return arrays


def describe(model: SkyModel) -> dict[str, Any]:
    """What figures need to know of a model."""
    return {
        "fingerprint": model.fingerprint,
        "names": list(model.names),
        "point_sources": list(model.point_sources),
        "nside": getattr(model.region, "nside", None),
        "n_pix": model.region.n_pix,
        "solid_angle": float(model.region.solid_angle),
        "energy_edges": model.energy_edges.tolist(),
        "scd_edges": model.scd_edges.tolist(),
        "photon_flux": float(1 / model.exposure.mean()),
    }


def _observed(run: Run, observation: Observation, truth: Mapping[str, Any] | None) -> None:
    run.write_observation(observation)
    known = describe(run.model) | {"counts": int(observation.counts.sum())}
    write_json(run.folder / FOLDER / "sky.json", known if truth is None else {**known, "truth": truth})


def _truth(drawn: Simulations) -> dict[str, Any]:
    return {key: getattr(drawn, key)[0].tolist() for key in ("flux", "scd", "n_sources")}


def _part(posterior: JointPosterior, kind: type[Posterior]) -> Any:
    return next((part for part in posterior.parts if isinstance(part, kind)), None)


def _curves(posterior: JointPosterior) -> dict[str, Array]:
    counts: SourceCountPosterior = _part(posterior, SourceCountPosterior)
    return {"taus": CURVE_TAUS, **counts.curves(CURVE_TAUS)}


def _shares(posterior: JointPosterior) -> dict[str, Any]:
    """What the network for the Poisson share says of the median source counts, and of those of every level τ."""
    share: PoissonFractionPosterior | None = _part(posterior, PoissonFractionPosterior)
    if share is None:
        return {}
    counts, network = _part(posterior, SourceCountPosterior), share.estimator
    row = posterior.coordinates.point_source.index(network.name)
    cdf = counts.estimator.stated(counts.counts, CURVE_TAUS)[:, 0, row]
    limit = float(share.quantiles("poisson_fraction", 0.95)[0])
    return {
        "poisson_share": {
            "levels": CURVE_TAUS.tolist(),
            "quantiles": share.quantiles("poisson_fraction", CURVE_TAUS).tolist(),
            "excluded_95": 1 - limit,
            "extrapolates": share.extrapolates,
            "by_tau": {
                "taus": CURVE_TAUS.tolist(),
                "confidences": list(SHARE_LEVELS),
                "limits": network.quantiles(cdf, SHARE_LEVELS).tolist(),
                "extrapolates": network.extrapolates(cdf).tolist(),
            },
        }
    }


def _nptf_arrays(model: SkyModel, posterior: NptfPosterior) -> dict[str, Array]:
    """Tails and median of F² dN/dF of the point sources; median and tails of the parts of their flux."""
    samples = posterior.samples
    rows = [model.names.index(name) for name in model.point_sources]
    total = samples["flux"].sum(axis=1)
    sources = samples["point_source_flux_fraction"] * total[:, None]
    density = pdf_to_f2dndf(cdf_to_pdf(samples["scd_cdf"]), sources, model.bins)
    return {
        "f2dndf": np.quantile(density, _TAILS, axis=0),
        "scd_cdf": np.quantile(samples["scd_cdf"], _TAILS, axis=0),
        "n_sources": np.quantile(samples["n_sources"], CURVE_TAUS, axis=0),
        "taus": CURVE_TAUS,
        "point_source_share": np.quantile(samples["point_source_flux_fraction"], LEVELS, axis=0),
        "poisson_share": np.quantile(samples["poisson_flux_fraction"], LEVELS, axis=0),
        "point_sources_of_flux": np.quantile(
            samples["point_source_flux_fraction"] / samples["flux_fraction"][:, rows], LEVELS, axis=0
        ),
    }
