"""Residuals after a Poisson fit, against the fit of :mod:`gcesbi.baselines` and its formula."""

import numpy as np
import pytest
import torch

from gcesbi.baselines.poisson.optimum import maximise_many
from gcesbi.errors import InputError
from gcesbi.networks.inputs import CountsInput
from gcesbi.networks.residuals import poisson_means, residuals, spanning
from gcesbi.sky.region import Region

REGION = Region.disc(16)


@pytest.fixture
def sky():
    """Templates (3, 2, n_pix) in two bins, and five maps of them."""
    rng = np.random.default_rng(3)
    slope = np.linspace(-1, 1, REGION.n_pix)
    shapes = np.stack([np.ones(REGION.n_pix), np.exp(1.7 * slope), np.exp(-4 * slope**2)])
    templates = shapes[:, None] * np.array([[1.0, 0.2], [1.0, 0.5], [1.0, 1.0]])[..., None]
    norms = rng.uniform(3, 9, (5, 3, 2))
    return templates, rng.poisson(np.einsum("nte,tep->nep", norms, templates))


def best(templates, counts):
    """Means of the best fits by the library's own fit of many maps."""
    found = [maximise_many(counts[:, e], np.ascontiguousarray(templates[:, e])) for e in range(counts.shape[1])]
    return np.stack([each.norms @ templates[:, e] for e, each in enumerate(found)], axis=1)


def test_means_are_those_of_the_best_poisson_fit(sky):
    templates, counts = sky
    found = poisson_means(torch.from_numpy(counts).float(), spanning(templates)).numpy()
    np.testing.assert_allclose(found, best(templates, counts), rtol=2e-4)


@pytest.mark.parametrize("energy", ["resolved", "summed"])
def test_residuals_are_counts_off_the_fit_over_its_root(sky, energy):
    templates, counts = sky
    inputs, plain = (CountsInput(np.ones((2, REGION.n_pix)), energy, residuals=on) for on in (True, False))
    inputs.fit_templates(templates)
    seen, known = (each.contrast(torch.from_numpy(counts))[0].numpy() for each in (inputs, plain))
    assert inputs.n_channel == seen.shape[1] == 2 * plain.n_channel
    assert inputs.n_total == plain.n_total
    assert np.array_equal(seen[:, : plain.n_channel], known)
    if energy == "summed":
        counts = counts.sum(axis=1, keepdims=True)
        mean = best(templates.sum(axis=1, keepdims=True), counts)
    else:
        mean = best(templates, counts)
        counts, mean = (np.concatenate([each, each.sum(axis=1, keepdims=True)], axis=1) for each in (counts, mean))
    wanted = (counts - mean) / np.sqrt(mean)
    np.testing.assert_allclose(seen[:, plain.n_channel :], wanted, atol=2e-3)
    assert wanted.std() == pytest.approx(1, abs=0.05)


def test_templates_that_depend_on_each_other_change_nothing(sky):
    templates, counts = sky
    counts = torch.from_numpy(counts).float()
    more = np.concatenate([templates, templates[:1] + 2 * templates[1:2], 0 * templates[:1]])
    assert spanning(more).shape == more.shape
    np.testing.assert_allclose(residuals(counts, spanning(more)), residuals(counts, spanning(templates)), atol=2e-3)


def test_empty_and_very_bright_maps_are_finite(sky):
    templates, counts = sky
    counts = torch.from_numpy(counts).float()
    counts[0] = 0
    counts[1, 0, 7] = 1e5
    assert torch.isfinite(residuals(counts, spanning(templates))).all()


def test_what_cannot_be_fitted_is_refused():
    with pytest.raises(InputError, match=r"templates: must have shape \(n_template, n_energy, n_pix\), got \(3, 9\)"):
        spanning(np.ones((3, 9)))
    with pytest.raises(InputError, match="residuals: the network has no templates to fit; make it by for_model"):
        CountsInput(np.ones((1, REGION.n_pix)), residuals=True).contrast(torch.ones(1, 1, REGION.n_pix))
