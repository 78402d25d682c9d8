"""`gcesbi infer`: everything the networks say about a map in one call, printed and stored."""

import json
import sys

import arviz
import numpy as np
import pytest

from gcesbi import InputError, SkyModel
from gcesbi.analysis import infer as infer_step
from gcesbi.analysis import poisson_fraction as poisson_fraction_step
from gcesbi.analysis import simulate as simulate_step
from gcesbi.analysis import train as train_step
from gcesbi.analysis.run import Run
from gcesbi.analysis.settings import load_settings
from gcesbi.cli import main as cli
from gcesbi.estimators import PoissonFraction, SourceCountEstimator, save_estimator
from gcesbi.posterior import QUANTITIES, Coordinates, SamplePosterior
from gcesbi.report.tables import comparison_table, posterior_figures, spectra_table

SMALL = [
    "sky.nside=16",
    "sky.weeks=30",
    "sky.n_energy=2",
    "simulation.n_train=128",
    "simulation.n_test=128",
    "training.max_maps=256",
    "network.widths=[8, 8]",
    "network.n_features=16",
    "simulation.n_calibration=0",
]


KNOWN = {
    *("flux_fraction", "spectrum_fraction", "flux", "spectrum"),
    *("scd_cdf", "scd_pdf", "f2dndf", "dndf", "n_sources", "poisson_fraction"),
}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A small run: simulated, trained, with a mock observation and a Poisson fraction."""
    settings = load_settings("test", SMALL, seed=3)
    run = Run.create(tmp_path_factory.mktemp("infer") / "run", settings, SkyModel.build(settings.sky))
    run.write_observation(simulate_step.mock_observation(run)[0])
    simulate_step.simulate(run, backend="threads")
    train_step.train(run)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(PoissonFraction.fit.__kwdefaults__, "n_step", 200)
        poisson_fraction_step.train_poisson_fraction(run, n_maps=256)
        yield run


@pytest.fixture(scope="module")
def posterior(run):
    return infer_step.infer(run, run.observation())


def test_everything_is_answered(posterior):
    assert set(posterior.names) == KNOWN
    for name, value in posterior.sample(7).items():
        sizes = [len(getattr(posterior.coordinates, axis)) for axis in QUANTITIES[name].axes]
        assert value.shape == (7, *sizes)
        assert np.isfinite(value).all()


def test_spectra_add_up_to_the_flux_of_the_map(run, posterior):
    """E² dN/dE back to fluxes, summed over templates: means sum to one, medians are means as stated."""
    seen, edges = run.observation(), run.model.energy_edges
    median = posterior.quantiles("spectrum", 0.5)[0]
    flux = median.sum(0) * np.diff(edges) / (edges[1:] * edges[:-1])
    np.testing.assert_allclose(flux, (seen.counts / seen.exposure).sum(1), rtol=1e-5)


def test_the_poisson_fraction_is_reproducible_and_belongs_to_its_network(run):
    path = run.weights("poisson_fraction")
    before = path.read_bytes()
    poisson_fraction_step.train_poisson_fraction(run, n_maps=256, workers=2)
    assert path.read_bytes() == before
    weights = run.weights("source_counts")
    kept = {file: file.read_bytes() for file in (weights, weights.with_suffix(".json"))}
    try:
        other = SourceCountEstimator.for_model(run.model, network=run.settings.network, seed=9)
        save_estimator(other, weights, model=run.model)
        with pytest.raises(InputError, match="trained behind another source-count network"):
            infer_step.infer(run, run.observation())
    finally:
        for file, content in kept.items():
            file.write_bytes(content)


def test_the_command_prints_and_stores_everything(monkeypatch, capfd, run):
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr(sys, "argv", ["gcesbi", "infer", str(run.folder), "--quiet"])
    with pytest.raises(SystemExit) as end:
        cli.main()
    out = " ".join(capfd.readouterr().out.split())
    assert not end.value.code
    for words in (
        "flux fraction of excess",
        "excess: number of sources",
        "Poisson share of excess, 95 % upper limit",
        "E² dN/dE [GeV / cm² / s]",
        "% of it is exactly smooth (95 %",
    ):
        assert words in out
    stored = json.loads((run.folder / "posteriors" / "networks.json").read_text())
    assert set(stored["quantities"]) == KNOWN
    found = arviz.from_netcdf(run.folder / "posteriors" / "networks.nc").posterior
    assert found["spectrum"].dims == ("chain", "draw", "template", "energy")
    assert found["poisson_fraction"].dims == ("chain", "draw")


def test_the_command_trains_the_poisson_fraction(monkeypatch, capfd, run):
    monkeypatch.setattr(sys, "argv", ["gcesbi", "poisson-fraction", str(run.folder), "--n", "256", "--quiet"])
    with pytest.raises(SystemExit) as end:
        cli.main()
    out = " ".join(capfd.readouterr().out.split())
    assert not end.value.code
    assert "231 median SCDs; on 25 others" in out
    assert "inside the 90 % interval" in out


def test_a_table_without_a_poisson_fraction_has_no_row_for_it(run, posterior):
    bins = run.model.bins
    spectra = posterior.parts[0]
    alone = comparison_table({"spectra": spectra}, bins)
    assert not [row for row in alone.rows if "Poisson" in row[0]]
    both = comparison_table({"spectra": spectra, "all": posterior}, bins)
    limit = 100 * posterior.quantiles("poisson_fraction", 0.95)[0]
    assert both.rows[-1] == ("Poisson share of excess, 95 % upper limit [%]", "–", f"{limit:.1f}")


COORDINATES = Coordinates(("a", "b"), (3.0, 9.0), ("b",), (-10.0, -9.0, -8.0))
SPECTRUM = np.array([[3.2e-7, 1e-8], [2e-8, 0.0]])


@pytest.fixture
def known():
    return SamplePosterior("chain", COORDINATES, {"spectrum": np.repeat(SPECTRUM[None], 5, axis=0)})


def test_the_table_of_spectra_has_a_common_power_of_ten(known):
    table = spectra_table(known)
    assert table.columns == ("in 1e-7", "a", "b")
    assert table.rows == (
        ("3.00 GeV", "3.20 (3.20–3.20)", "0.20 (0.20–0.20)"),
        ("9.00 GeV", "0.10 (0.10–0.10)", "0.00 (0.00–0.00)"),
    )


def test_figures_are_quantiles_with_units_and_labels(known):
    found = posterior_figures(known, (0.1, 0.5))
    assert found["levels"] == [0.1, 0.5]
    assert found["quantities"]["spectrum"] == {
        "meaning": QUANTITIES["spectrum"].meaning,
        "unit": "GeV / cm² / s",
        "axes": {"template": ["a", "b"], "energy": [3.0, 9.0]},
        "quantiles": [SPECTRUM.tolist()] * 2,
    }
