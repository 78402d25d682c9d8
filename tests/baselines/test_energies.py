"""The template fit's likelihood with energies, against reference numbers, a recursion over vectors and an inversion."""

import itertools
import json
import warnings

import numpy as np
import pytest
from scipy.special import gammaln, xlogy
from scipy.stats import multinomial, poisson

from gcesbi import InputError
from gcesbi.baselines import nptf_energy_log_likelihood, nptf_log_likelihood
from gcesbi.baselines.nptf.count_integrals import count_vectors
from gcesbi.baselines.nptf.energies import NptfEnergyLikelihood
from gcesbi.baselines.nptf.energy_recursion import LANES

THETAS = (np.array([0.05, 3.2, 1.4, 6.0]), np.array([0.02, 4.0, 1.6, -1.0, 12.0, 2.0]))
SPLITS = np.array([[0.5, 0.3, 0.2], [0.1, 0.35, 0.55]])
SHARES, DENSITY = np.array([0.2, 0.6]), np.array([2.0, 1.0])
MEAN = np.array([0.7, 0.3, 0.4])
TEMPLATES = np.array([1.3, 0.8])


@pytest.fixture(scope="module")
def cases(reference_folder):
    return json.loads((reference_folder / "nptf_energies.json").read_text())["cases"]


def arguments(case):
    return [case[k] for k in ("counts", "mean", "templates", "thetas", "splits", "psf_f", "psf_df_rho")]


def log_probability(counts, mean=MEAN, templates=TEMPLATES, thetas=THETAS, splits=SPLITS):
    """ln p of one pixel."""
    return nptf_energy_log_likelihood(
        np.array(counts)[None], mean[None], templates[:, None], thetas, splits, SHARES, DENSITY
    )


def vector(theta, n):
    out = np.zeros(n + 1)
    count_vectors(theta, SHARES, DENSITY, out)
    return out


def density(theta, s):
    """dN/dS of a broken power law, as the likelihood's docstring has it."""
    n_break = len(theta) // 2 - 1
    indices, breaks = theta[1 : n_break + 2], theta[n_break + 2 :]
    value, level = np.where(s >= breaks[0], theta[0] * (s / breaks[0]) ** -indices[0], 0.0), theta[0]
    for i, top in enumerate(breaks):
        low = breaks[i + 1] if i + 1 < n_break else 0.0
        value = np.where((s < top) & (s >= low), level * (s / top) ** -indices[i + 1], value)
        level *= (low / top) ** -indices[i + 1] if low else 1.0
    return value


def test_reference_numbers(cases):
    for case in cases:
        assert nptf_energy_log_likelihood(*arguments(case)) == pytest.approx(case["log_likelihood"], abs=1e-10, rel=0)


def test_a_recursion_over_vectors_of_counts():
    """k_1 p_k = μ_1 p_(k - e_1) + Σ_m m_1 x_m p_(k - m), x_m sources with m photons: by force."""
    top = 4
    cells = list(itertools.product(range(top + 1), repeat=3))
    given = {}
    for m in cells[1:]:
        n = sum(m)
        given[m] = sum(
            t * vector(theta, 3 * top)[n] * multinomial.pmf(m, n, a)
            for t, theta, a in zip(TEMPLATES, THETAS, SPLITS, strict=True)
        )
    for e in range(3):
        given[tuple(np.eye(3, dtype=int)[e])] += MEAN[e]
    lost = MEAN.sum() + sum(t * vector(theta, 1)[0] for t, theta in zip(TEMPLATES, THETAS, strict=True))
    p = {(0, 0, 0): np.exp(-lost)}
    for k in cells[1:]:
        axis = next(e for e in range(3) if k[e])
        below = (m for m in given if all(a <= b for a, b in zip(m, k, strict=True)) and m[axis])
        p[k] = sum(m[axis] * x * p[tuple(np.subtract(k, m))] for m, x in ((m, given[m]) for m in below)) / k[axis]
    for k in cells[::7]:
        assert log_probability(k) == pytest.approx(np.log(p[k]), abs=1e-11, rel=0)


def by_force(counts, mean, templates, thetas, splits, shares, density_of_shares):
    """ln p of a pixel with photons: dN/dS integrated numerically, a recursion over all vectors of counts."""
    seen = np.flatnonzero(counts)
    lost, top = mean.sum(), int(counts.sum())
    cells = np.array(list(itertools.product(*(range(k + 1) for k in counts[seen]))))
    total, given = cells.sum(axis=1), np.zeros(len(cells))
    nodes, weights = np.polynomial.legendre.leggauss(20)
    for template, theta, a in zip(templates, thetas, splits, strict=True):
        n_break = len(theta) // 2 - 1
        edges = np.log([1e-30, *theta[:-n_break:-1], *theta[-n_break:][:1], theta[-n_break] * 1e9])
        edges = np.concatenate([np.arange(low, high, 0.5) for low, high in itertools.pairwise(edges)] + [edges[-1:]])
        s = np.exp(((edges[1:] + edges[:-1])[:, None] + np.diff(edges)[:, None] * nodes).ravel() / 2)
        n = density(theta, s) * s * (np.diff(edges)[:, None] * weights).ravel() / 2 * template
        m = np.arange(1, top + 1)
        x = sum(rho * poisson.pmf(m[:, None], f * s) @ n for f, rho in zip(shares, density_of_shares, strict=True))
        lost += sum(rho * -np.expm1(-f * s) @ n for f, rho in zip(shares, density_of_shares, strict=True))
        inside = total > 0
        log_split = xlogy(cells[inside], a[seen]).sum(axis=1) - gammaln(cells[inside] + 1).sum(axis=1)
        given[inside] += x[total[inside] - 1] * np.exp(log_split + gammaln(total[inside] + 1))
    for i, e in enumerate(seen):
        given[np.all(cells == np.eye(len(seen), dtype=int)[i], axis=1)] += mean[e]
    p = np.zeros(len(cells))
    p[0] = 1.0
    for row in range(1, len(cells)):
        k = cells[row]
        axis = np.flatnonzero(k)[0]
        below = np.all(cells <= k, axis=1) & (cells[:, axis] > 0)
        before = np.ravel_multi_index((k - cells[below]).T, counts[seen] + 1)
        p[row] = (cells[below, axis] * given[below]) @ p[before] / k[axis]
    return np.log(p[-1]) - lost


@pytest.mark.parametrize("seed", range(12))
def test_any_number_of_bins_breaks_and_shares_by_force(seed):
    """Random pixels of 1 to 10 bins, one to three templates of one or two breaks, a PSF table, splits by pixel."""
    rng = np.random.default_rng(seed)
    n_energy, n_ps, n_pix = rng.integers(1, 11), rng.integers(1, 4), 3
    counts = rng.multinomial(rng.integers(1, 11, n_pix), rng.dirichlet(np.ones(n_energy)))
    mean, templates = rng.exponential(0.5, (n_pix, n_energy)), rng.exponential(1.0, (n_ps, n_pix))
    thetas = []
    for _ in range(n_ps):
        top, two = rng.uniform(3.0, 20.0), rng.random() < 0.5
        middle = [rng.uniform(-1.0, 1.9)] if two else []
        low = [top * rng.uniform(0.1, 0.6)] if two else []
        indices = [rng.uniform(2.2, 8.0), *middle, rng.uniform(-5.0, 1.5)]
        thetas.append(np.array([10 ** rng.uniform(-3, 0), *indices, top, *low]))
    n_share = rng.integers(1, 6)
    table = rng.uniform(0.02, 1.0, n_share), rng.exponential(1.0, n_share)
    by_pixel = rng.random() < 0.5
    splits = rng.dirichlet(np.ones(n_energy), (n_ps, n_pix) if by_pixel else n_ps)
    expected = sum(
        by_force(counts[p], mean[p], templates[:, p], thetas, splits[:, p] if by_pixel else splits, *table)
        for p in range(n_pix)
    )
    found = nptf_energy_log_likelihood(counts, mean, templates, thetas, splits, *table)
    assert found == pytest.approx(expected, abs=1e-8, rel=0)


def test_inversion_of_the_generating_function():
    """Cauchy's integral by FFT, of a generating function that is integrated over dN/dS numerically."""
    n, splits, mean = 128, np.array([[0.7, 0.3], [0.2, 0.8]]), np.array([0.8, 0.5])
    t = np.exp(2j * np.pi * np.arange(n) / n)
    half = t[: n // 2 + 1]  # the function is that of a real array: its other half are the conjugates
    nodes, weights = np.polynomial.legendre.leggauss(16)
    edges = np.log(np.concatenate([np.geomspace(1e-12, 2.0, 40), np.geomspace(2.0, 6.0, 8)[1:], [8.0, 10.0, 12.0]]))
    edges = np.concatenate([edges, np.log(np.geomspace(12.0, 1e6, 60))[1:]])
    s = np.exp(((edges[1:] + edges[:-1])[:, None] + np.diff(edges)[:, None] * nodes).ravel() / 2)
    ds = s * (np.diff(edges)[:, None] * weights).ravel() / 2
    log_g = mean[0] * (t[:, None] - 1) + mean[1] * (half - 1)
    for template, theta, a in zip(TEMPLATES, THETAS, splits, strict=True):
        inside = (a[0] * t[:, None] + a[1] * half - 1).ravel()
        for f, rho in zip(SHARES, DENSITY, strict=True):
            kernel = np.expm1(np.outer(inside, f * s)) @ (density(theta, s) * ds)
            log_g = log_g + template * rho * kernel.reshape(log_g.shape)
    p = np.fft.irfft2(np.exp(log_g).conj(), (n, n))  # p_k = Σ G exp(-2πi k·j / n) / n²
    for k in ((0, 0), (3, 1), (2, 6), (9, 4)):
        # aliasing: what lies beyond 128 photons, some (12 / 128)^2 of a hundredth of a source
        assert log_probability(k, mean, splits=splits) == pytest.approx(np.log(p[k]), abs=2e-6, rel=0)


def test_probabilities_sum_to_one():
    theta, mean, splits = (np.array([0.4, 30.0, 1.2, 1.5]),), np.array([0.2, 0.1]), np.array([[0.6, 0.4]])
    cells = np.array(list(itertools.product(range(24), repeat=2)))
    likelihood = NptfEnergyLikelihood.build(cells, np.ones((1, len(cells))), SHARES, DENSITY)
    log_p = likelihood.log_probabilities(np.tile(mean, (len(cells), 1)), theta, splits)
    assert np.exp(log_p).sum() == pytest.approx(1, abs=1e-10)


def test_one_bin_is_the_likelihood_without_energies_also_for_bright_pixels():
    counts, rng = np.array([0, 3, 40, 119, 121, 300, 900]), np.random.default_rng(3)
    mean, templates = rng.gamma(2, 20, counts.size), rng.gamma(2, 0.5, (2, counts.size))
    found = nptf_energy_log_likelihood(
        counts[:, None], mean[:, None], templates, THETAS, np.ones((2, 1)), SHARES, DENSITY
    )
    alone = nptf_log_likelihood(counts, mean, templates, THETAS, SHARES, DENSITY)
    assert found == pytest.approx(alone, abs=1e-9, rel=0)


@pytest.mark.parametrize("merged", [True, False])
def test_equal_splits_are_a_multinomial(merged):
    """Smooth emission and sources of one spectrum: the sum's law times a multinomial, merged or not."""
    rng = np.random.default_rng(4)
    share = np.array([0.3, 0.25, 0.45])
    counts, total = rng.poisson(4.0, (12, 3)), rng.gamma(2, 3, 12)
    templates = rng.gamma(2, 0.5, (2, 12))
    splits = np.tile(share, (2, 1)) + (0 if merged else 1e-13 * np.array([[1, -1, 0], [0, 0, 0]]))
    found = nptf_energy_log_likelihood(counts, total[:, None] * share, templates, THETAS, splits, SHARES, DENSITY)
    n = counts.sum(axis=1)
    alone = nptf_log_likelihood(n, total, templates, THETAS, SHARES, DENSITY)
    assert found == pytest.approx(alone + multinomial.logpmf(counts, n, share).sum(), abs=1e-9, rel=0)


def test_three_kinds_of_sources():
    """A third template, split between two others' spectra in halves that merge with them, changes nothing."""
    rng = np.random.default_rng(5)
    counts, mean, templates = rng.poisson(2.0, (5, 3)), rng.gamma(2, 0.5, (5, 3)), rng.gamma(2, 0.5, (2, 5))
    two = nptf_energy_log_likelihood(counts, mean, templates, THETAS, SPLITS, SHARES, DENSITY)
    split = SPLITS[[0, 1, 1]] + 1e-14 * np.array([[0, 0, 0], [0, 0, 0], [1, -1, 0]])
    halves = np.stack([templates[0], 0.4 * templates[1], 0.6 * templates[1]])
    three = nptf_energy_log_likelihood(counts, mean, halves, (*THETAS, THETAS[1]), split, SHARES, DENSITY)
    assert three == pytest.approx(two, abs=1e-9, rel=0)


def test_far_fewer_photons_than_expected():
    """Smooth emission alone is above the counts, and sources would give many: no weight leaves the range of doubles."""
    theta, counts = [1.0, 5.0, -1.0, 20.0], np.array([[19, 52, 79]])
    theta[0] = 1.5 / float(vector(np.array(theta), 1)[0])
    fixed = counts, np.array([[66.6, 65.8, 60.1]]), np.array([[1.0], [4.0]]), [theta, theta]
    equal = np.array([[0.4, 0.3, 0.3]] * 2)
    other = equal + 1e-14 * np.array([[0, 0, 0], [1, -1, 0]])
    merged, two = (nptf_energy_log_likelihood(*fixed, splits, SHARES, DENSITY) for splits in (equal, other))
    assert two == pytest.approx(merged, abs=1e-9, rel=0)
    found = NptfEnergyLikelihood.build(fixed[0], fixed[2], SHARES, DENSITY).gradient(*fixed[1:2], fixed[3], other)
    assert all(np.isfinite(each).all() for each in (found.value, found.by_mean, *found.by_theta, found.by_splits))


@pytest.mark.parametrize("coarse_above", [0, 2, 3])
def test_coarse_pixels_leave_the_likelihood_proper(coarse_above):
    """Σ p over all data that can be used is 1: vectors up to K₀ photons, numbers of photons above."""
    top = 40
    vectors = [k for k in itertools.product(range(coarse_above + 1), repeat=2) if sum(k) <= coarse_above]
    coarse = [(n, 0) for n in range(coarse_above + 1, top)]
    cells = np.array(vectors + coarse)
    n, mean, splits = len(cells), np.array([0.7, 0.3]), np.array([[0.6, 0.4], [0.1, 0.9]])
    thetas = [np.array([0.05, 5.2, 1.4, 3.0]), np.array([0.02, 6.0, 1.6, -1.0, 4.0, 2.0])]
    maps = np.repeat(TEMPLATES[:, None], n, axis=1)
    likelihood = NptfEnergyLikelihood.build(cells, maps, SHARES, DENSITY, coarse_above=coarse_above)
    assert likelihood.map.coarse.sum() == len(coarse)
    law = np.exp(likelihood.log_probabilities(np.tile(mean, (n, 1)), thetas, splits))
    assert law.sum() == pytest.approx(1.0, abs=1e-6)
    other = NptfEnergyLikelihood.build(cells[:, ::-1], maps, SHARES, DENSITY, coarse_above=coarse_above)
    again = np.exp(other.log_probabilities(np.tile(mean, (n, 1)), thetas, splits))
    np.testing.assert_allclose(again[len(vectors) :], law[len(vectors) :], rtol=1e-13)
    summed = nptf_log_likelihood(cells[-1:].sum(axis=1), [mean.sum()], maps[:, -1:], thetas, SHARES, DENSITY)
    assert np.log(law[-1]) == pytest.approx(summed, abs=1e-9)


def test_tilted_weights_are_the_direct_ones(cases):
    """Pixels in one block with a bright one take the way of bright pixels, and give what they do alone."""
    case = cases[3]
    counts, mean = np.array(case["counts"])[:LANES], np.array(case["mean"])[:LANES]
    templates = np.array(case["templates"])[:, :LANES]
    told = []
    for brightest in (counts[0], 13 + counts[0]):
        seen = np.concatenate([brightest[None], counts[1:]])
        likelihood = NptfEnergyLikelihood.build(seen, templates, case["psf_f"], case["psf_df_rho"], workers=1)
        given = mean, case["thetas"], case["splits"]
        told.append((likelihood.log_probabilities(*given), likelihood.gradient(*given)))
    (alone, slopes), (beside, others) = told
    np.testing.assert_allclose(beside[1:], alone[1:], atol=1e-11, rtol=0)
    np.testing.assert_allclose(others.by_mean[1:], slopes.by_mean[1:], rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(others.by_splits[:, 1:], slopes.by_splits[:, 1:], rtol=1e-9, atol=1e-9)


def test_gradient_by_finite_differences(cases):
    case = cases[2]
    mean, splits = np.array(case["mean"]), np.array(case["splits"])
    thetas = [np.array(theta) for theta in case["thetas"]]
    likelihood = NptfEnergyLikelihood.build(*(case[k] for k in ("counts", "templates", "psf_f", "psf_df_rho")))
    found = likelihood.gradient(mean, thetas, splits)
    assert found.value == pytest.approx(case["log_likelihood"], abs=1e-10, rel=0)

    def slope(change, step):
        return (likelihood(*change(step)) - likelihood(*change(-step))) / (2 * step)

    for place in ((0, 0), (3, 2), (7, 1)):
        unit = np.zeros(mean.shape)
        unit[place] = 1.0
        expected = slope(lambda h, unit=unit: (mean + h * unit, thetas, splits), 1e-6)
        assert found.by_mean[place] == pytest.approx(expected, rel=1e-6, abs=1e-7)
    for j, theta in enumerate(thetas):
        for i, value in enumerate(theta):
            unit = np.eye(len(theta))[i] * abs(value)

            def moved(h, j=j, unit=unit):
                return mean, [t + h * unit if t is thetas[j] else t for t in thetas], splits

            assert found.by_theta[j][i] * abs(value) == pytest.approx(slope(moved, 1e-6), rel=1e-5, abs=1e-6)
        tangent = np.zeros(splits.shape)
        tangent[j, :2] = 1.0, -1.0
        expected = slope(lambda h, tangent=tangent: (mean, thetas, splits + h * tangent), 1e-6)
        assert found.by_splits[j, :, 0].sum() - found.by_splits[j, :, 1].sum() == pytest.approx(expected, rel=1e-5)


def test_gradient_of_hardly_any_sources():
    """A population of 10⁻²⁵ sources: its slope is that of one of 10⁻¹², by a difference, and nothing overflows."""
    counts = np.array([[30, 25, 20], [12, 40, 30]])
    mean, templates = np.tile([20.0, 18.0, 15.0], (2, 1)), np.ones((2, 2))
    likelihood = NptfEnergyLikelihood.build(counts, templates, SHARES, DENSITY)

    def thetas(norm):
        return THETAS[0], np.array([norm, 3.0, 1.2, 40.0])

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = likelihood.gradient(mean, thetas(1e-25), SPLITS)
    ends = [likelihood(mean, thetas(norm), SPLITS) for norm in (1e-12, 3e-12)]
    assert found.by_theta[1][0] == pytest.approx((ends[1] - ends[0]) / 2e-12, rel=1e-4)
    assert np.isfinite(found.by_splits).all()


def test_splits_of_every_pixel_and_any_number_of_threads():
    rng = np.random.default_rng(6)
    counts, mean, templates = rng.poisson(3.0, (9, 3)), rng.gamma(2, 1, (9, 3)), rng.gamma(2, 0.5, (2, 9))
    splits = rng.dirichlet(np.ones(3), (2, 9))
    told = [
        NptfEnergyLikelihood.build(counts, templates, SHARES, DENSITY, workers)(mean, THETAS, splits)
        for workers in (1, 4)
    ]
    pixels = [log_probability(counts[p], mean[p], templates[:, p], THETAS, splits[:, p]) for p in range(len(counts))]
    assert told == pytest.approx([sum(pixels)] * 2, abs=1e-11, rel=0)


def test_impossible_counts_are_minus_infinity_without_a_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert log_probability((1, 0, 0), np.zeros(3), np.zeros(2)) == -np.inf
        assert log_probability((0, 0, 1), np.array([1.0, 1.0, 0.0]), splits=np.array([[0.5, 0.5, 0]] * 2)) == -np.inf
        assert log_probability((0, 0, 0), np.zeros(3), np.zeros(2)) == 0


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"splits": [[0.5, 0.4]]}, "splits: must sum to 1 over energies, one differs by 0.1"),
        ({"splits": [[1.5, -0.5]]}, "splits: must be finite and not negative, got -0.5"),
        ({"splits": [[0.5, 0.3, 0.2]]}, r"splits: must have shape \(1, 2\) or \(1, 2, 2\), got \(1, 3\)"),
        ({"counts": [1, 2]}, r"counts: must have shape \(n_pix, n_energy\), got \(2,\)"),
        ({"mean": [[1.0, 1.0]]}, r"mean: must have shape \(2, 2\), as counts have, got \(1, 2\)"),
        ({"templates": [[1.0]]}, r"templates: must have shape \(n_ps, 2\), got \(1, 1\)"),
        ({"psf_f": [1.5]}, r"psf_f: must lie in \(0, 1\], got 1.5"),
        ({"thetas": []}, "thetas: need one for each of 1 templates, got 0"),
        (
            {
                "counts": [[0, 1], [9000, 0]],
                "templates": [[1.0, 1.0]] * 2,
                "thetas": [THETAS[0]] * 2,
                "splits": [[0.5, 0.5], [0.4, 0.6]],
            },
            "counts: pixel 1 holds 9000 photons; with 2 kinds of spectra of sources memory allows K₀ = 5791",
        ),
    ],
)
def test_bad_input_is_named(changes, told):
    values = {
        "counts": [[1, 2], [0, 1]],
        "mean": [[1.0, 1.0]] * 2,
        "templates": [[1.0, 1.0]],
        "thetas": [THETAS[0]],
        "splits": [[0.5, 0.5]],
        "psf_f": [1.0],
        "psf_df_rho": [1.0],
    } | changes
    with pytest.raises(InputError, match=told):
        nptf_energy_log_likelihood(**values)
