"""No table quotes what a posterior repeats from its prior without saying so."""

import numpy as np
import pytest

from gcesbi.evaluation.prior_quantities import prior_quantities
from gcesbi.posterior import SamplePosterior
from gcesbi.report.prior_mark import PRIOR_MARK, PRIOR_NOTE, marked
from gcesbi.report.tables import comparison_table
from gcesbi.simulation import SkyModel
from gcesbi.validation import prior_width_ratio, tells_the_prior


def test_widths_are_compared():
    assert prior_width_ratio((0.2, 0.4), (0.0, 1.0)) == pytest.approx(0.2)
    assert tells_the_prior((0.1, 1.0), (0.0, 1.0))
    assert not tells_the_prior((0.1, 0.99), (0.0, 1.0))
    assert not tells_the_prior((0.1, 0.2), (0.5, 0.5))  # of a prior without width nothing is said
    assert marked("1.15", (1.05, 1.25), (1.05, 1.25)) == f"1.15{PRIOR_MARK}"
    assert marked("1.15", (1.14, 1.16), (1.05, 1.25)) == "1.15"


def test_a_table_marks_what_is_the_prior_s():
    model = SkyModel.preset(nside=16, n_energy=1)
    prior = prior_quantities(model, n=400)
    known = {name: values.copy() for name, values in prior.samples.items()}
    row = model.names.index("pi")
    known["flux_fraction"][:, row] = 0.4 + 0.01 * np.random.default_rng(1).normal(size=400)
    table = comparison_table({"x": SamplePosterior("x", model.coordinates, known)}, model.bins, prior=prior)
    cells = dict(table.rows)
    assert PRIOR_MARK not in cells["flux fraction of π⁰ + bremsstrahlung [%]"]
    assert cells["flux fraction of excess [%]"].endswith(PRIOR_MARK)
    assert cells["excess: mean of log₁₀ F"].endswith(PRIOR_MARK)
    assert PRIOR_NOTE in table.caption
    assert PRIOR_NOTE not in comparison_table({"x": prior}, model.bins).caption
