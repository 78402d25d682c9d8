"""Maps drawn on a device follow the compiled simulator's law, and the closed forms behind it."""

from dataclasses import replace
from itertools import islice

import numpy as np
import pytest
import torch
from scipy import stats

from gcesbi import Formula, InputError, Mixture, PointSources, Simulator, SkyModel, Smooth
from gcesbi.physics.scd import SkewNormalScd
from gcesbi.simulation import device
from gcesbi.simulation.device import DeviceSimulator, device_batches
from gcesbi.simulation.simulator import SHARD
from gcesbi.simulation.torch_maps import fresh_batches

K = 5.0  # tolerance of every moment test, in Monte Carlo standard errors
RARE = 1e-4  # smallest probability of a Kolmogorov-Smirnov test
N = 400
SHAPES = {  # ξ, ω², a of the disk and of both populations of the excess; one photon is a flux of 8.4e-10
    "dim": (-12.5, 0.05, 0.0),
    "bright": (-8.6, 0.05, 0.0),
    "wide": (-11.0, 1.0, 0.0),
    "skewed up": (-11.5, 0.4, 4.0),
    "skewed down": (-8.8, 0.6, -4.0),
    "one flux": (-9.2, 0.0, 0.0),
}


def preset(**settings):
    return Simulator(SkyModel.preset("inner-galaxy", **{"nside": 16, "n_energy": 2, "weeks": 6.0} | settings))


def theta_with(simulator, n, **changes):
    """The same parameters n times: norms and spectra from the prior, populations as told."""
    names = simulator.model.prior().names
    theta = simulator.model.prior().draw(1, np.random.default_rng(2))
    for column, name in enumerate(names):
        for ending, value in changes.items():
            if name.endswith(f"_{ending}") and "spectrum" not in name:
                theta[:, column] = value
    return np.repeat(theta, n, axis=0)


def seeded(seed):
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def simulator():
    return preset()


@pytest.fixture(scope="module")
def drawn(simulator):
    """Maps of both simulators, (theta, counts, flux, scd, n_sources) as arrays of float64, by name of the shape."""
    on_device = DeviceSimulator(simulator)
    found = {}
    for name, (xi, omega2, a) in SHAPES.items():
        theta = theta_with(simulator, N, xi=xi, omega2=omega2, a=a, flux=1.2e-7)
        compiled = simulator.draw(theta, np.random.default_rng(5))
        tensors = on_device.draw(theta, seeded(6))
        fields = ("counts", "flux", "scd", "n_sources")
        found[name] = [
            {field: np.asarray(getattr(each, field), dtype=np.float64) for field in fields}
            for each in (compiled, tensors)
        ]
    return found


def check_means(one, other, rounding=1e-6):
    """Columns of (n, m) have the same mean; those that never vary agree but for float32's rounding."""
    error = np.sqrt(one.var(axis=0) / len(one) + other.var(axis=0) / len(other))
    difference = np.abs(one.mean(axis=0) - other.mean(axis=0))
    assert (difference <= K * error + rounding * np.abs(one.mean(axis=0))).all(), (difference, error)


def check_spreads(one, other):
    """Columns have the same variance, by the spread of squared deviations."""
    squares = [(each - each.mean(axis=0)) ** 2 + 1e-12 * one.mean(axis=0) ** 2 for each in (one, other)]
    check_means(*squares, rounding=1e-3)


def summaries(model, counts):
    """Totals per bin, per quarter of the region, in rings of latitude; pairs of photons in pixels and across them."""
    glon, glat = model.region.glon_glat()
    total = counts.sum(axis=1)
    parts = [counts.sum(axis=2)]
    for group in (2 * (glon > 0) + (glat > 0), np.digitize(np.abs(glat), (5, 10, 18)), np.hypot(glon, glat) // 6):
        parts.append(np.stack([total[:, group == each].sum(axis=1) for each in np.unique(group)], axis=1))
    ascending = np.flatnonzero(np.diff(model.region.pixels) == 1)
    parts.append((total**2).sum(axis=1, keepdims=True))
    parts.append((total[:, ascending] * total[:, ascending + 1]).sum(axis=1, keepdims=True))
    parts.append((counts[:, 0] * counts[:, 1]).sum(axis=1, keepdims=True))
    return np.concatenate(parts, axis=1)


@pytest.mark.parametrize("name", SHAPES)
def test_counts_have_the_compiled_simulators_law(simulator, drawn, name):
    one, other = (summaries(simulator.model, each["counts"]) for each in drawn[name])
    check_means(one, other)
    check_spreads(one[:, :2], other[:, :2])
    for column in (0, 1, -3, -2, -1):
        assert stats.ks_2samp(one[:, column], other[:, column]).pvalue > RARE
    histograms = [np.apply_along_axis(np.bincount, 1, each["counts"].sum(axis=1).clip(max=12).astype(int), minlength=13)
                  for each in drawn[name]]  # fmt: skip
    check_means(*histograms)


@pytest.mark.parametrize("name", SHAPES)
def test_labels_have_the_compiled_simulators_law(drawn, name):
    one, other = drawn[name]
    for field in ("scd", "n_sources", "flux"):
        check_means(one[field].reshape(N, -1), other[field].reshape(N, -1))
    check_spreads(one["n_sources"], other["n_sources"])
    check_spreads(one["scd"].reshape(N, -1), other["scd"].reshape(N, -1))
    for j in (0, 1):
        assert stats.ks_2samp(one["n_sources"][:, j], other["n_sources"][:, j]).pvalue > RARE
        assert stats.ks_2samp(one["flux"][:, 4 + j, 0], other["flux"][:, 4 + j, 0]).pvalue > RARE


@pytest.mark.parametrize("name", ["bright", "wide", "skewed up", "skewed down", "one flux"])
def test_labels_belong_to_their_maps(drawn, name):
    """Flux and counts of a map rise together, as strongly as in the compiled simulator (Fisher's z, K errors)."""
    z = [
        np.arctanh(np.corrcoef(each["flux"][:, 4:].sum(axis=(1, 2)), each["counts"].sum(axis=(1, 2)))[0, 1])
        for each in drawn[name]
    ]
    assert abs(z[0] - z[1]) < K * np.sqrt(2 / (N - 3))
    if name == "bright":
        assert min(z) > 0.3


@pytest.mark.parametrize("name", SHAPES)
def test_mean_counts_are_the_templates(simulator, drawn, name):
    """Σ norm · template, the norms of point sources being those of their mean flux: the Poisson fit's expectation."""
    model = simulator.model
    theta = theta_with(simulator, 1, xi=SHAPES[name][0], omega2=SHAPES[name][1], a=SHAPES[name][2], flux=1.2e-7)
    emission = model.emission(theta)
    flux = 1.2e-7 * np.array([2, 1])[:, None] * emission.spectra[0, 4:]
    norms = np.concatenate([emission.norms[0], flux / model.flux_per_norm[4:]])
    expected = np.einsum("te,tep->e", norms, model.templates)
    counts = drawn[name][1]["counts"].sum(axis=2)
    assert (np.abs(counts.mean(axis=0) - expected) < K * counts.std(axis=0) / np.sqrt(N) + 2e-3 * expected).all()


def test_photons_per_source_are_poisson(simulator):
    """Sources of 2 photons of exposure each, in a sky without other light: pairs follow the compiled law; and a source
    of flux F gives F ε photons on average, whether or not it is seen.
    """
    theta = theta_with(simulator, N, norm=0.0, xi=-9.2, omega2=0.0, flux=2e-8)
    compiled, found = simulator.draw(theta, np.random.default_rng(1)), DeviceSimulator(simulator).draw(theta, seeded(2))
    pairs = [
        (counts * (counts - 1.0)).sum(axis=1, keepdims=True)
        for counts in (compiled.counts.sum(axis=1, dtype=float), found.counts.double().sum(dim=1).numpy())
    ]
    check_means(*pairs)
    check_spreads(*pairs)


def test_light_from_beyond_the_region(simulator):
    """A sky that is fifty times brighter outside: most photons start there, and follow the compiled law."""
    model, within = simulator.model, np.full(len(simulator.model.patch), 1.0)
    within[model.inside] = 0.02
    intensity = {name: each * within for name, each in model.maps.intensity.items()}
    outer = Simulator(SkyModel.build(model.settings, replace(model.maps, intensity=intensity)))
    theta = theta_with(outer, 200, norm=0.0, xi=-9.0, omega2=0.1, a=0.0, flux=2e-8)
    one, other = outer.draw(theta, np.random.default_rng(1)), DeviceSimulator(outer).draw(theta, seeded(4))
    counts = [np.asarray(each.counts, dtype=float) for each in (one, other)]
    photons = 2e-8 * np.array([2, 1]) @ model.emission(theta[:1]).spectra[0, 4:] @ model.exposure.mean(axis=1)
    assert min(each.sum(axis=(1, 2)).mean() for each in counts) > 1.3 * photons
    check_means(*(summaries(model, each) for each in counts))
    check_means(one.n_sources, other.n_sources.double().numpy())


@pytest.mark.parametrize("reach", [1.0, 0.3, 0.01])
def test_displacements_are_the_psf_beyond_the_region(simulator, reach):
    """1 - C(θ) is even between 0 and the share of the light that reaches so far, in every energy bin."""
    energy = torch.arange(2).repeat(2000)
    drop = DeviceSimulator(simulator)._displacement(energy, torch.full((4000,), reach), seeded(1)).double()
    theta = np.degrees(2 * np.arcsin(np.sqrt(drop.numpy() / 2)))
    for e, psf in enumerate(simulator.model.psf):
        share = (1 - psf.containment(theta[energy == e])) / reach
        assert stats.kstest(share, "uniform").pvalue > RARE


@pytest.mark.parametrize("number", [30, 300])
def test_fluxes_of_unseen_sources_scatter(simulator, number):
    """The mean flux of n sources has the variance of one over n: drawn one by one (30), and as a normal sum (300)."""
    omega = 0.05
    theta = theta_with(simulator, N, flux=0.0, norm=0.0, xi=-12.5, omega2=omega**2, a=0.0)
    mean = 10**-12.5 * np.exp((omega * np.log(10)) ** 2 / 2)
    theta[:, simulator.model.prior().names.index("disk_flux")] = number * mean
    found = DeviceSimulator(simulator).draw(theta, seeded(1))
    n = found.n_sources[:, 1].double().numpy()
    scatter = (found.flux[:, 5].double().sum(dim=1).numpy() / n / mean - 1) * np.sqrt(n)
    spread = np.sqrt(np.expm1((omega * np.log(10)) ** 2))
    assert abs(scatter.std() / spread - 1) < K / np.sqrt(2 * N)
    assert abs(n.mean() / number - 1) < K / np.sqrt(number * N)


# -- settings of the model ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "settings", [{"summed": True}, {"gce_poisson_share": True}, {"spectral_jitter": 0.5}, {"n_energy": 1}], ids=str
)
def test_variations_are_drawn_alike(settings):
    simulator = preset(nside=8, **settings)
    theta = theta_with(simulator, 300, xi=-9.5, omega2=0.2, a=0.0, flux=1.2e-7)
    compiled, found = simulator.draw(theta, np.random.default_rng(1)), DeviceSimulator(simulator).draw(theta, seeded(2))
    assert found.counts.shape == compiled.counts.shape
    for field in ("flux", "scd", "n_sources"):
        one, other = (np.asarray(getattr(each, field), dtype=float).reshape(300, -1) for each in (compiled, found))
        check_means(one, other)
        check_spreads(one, other)
    check_means(*(np.asarray(each.counts, dtype=float).sum(axis=2) for each in (compiled, found)))


FLOATING = {
    "steep": {"dots_gamma": 1.38, "sky_weight": 0.9, "both_weight": 0.1},
    "shallow": {"dots_gamma": 0.92, "sky_weight": 0.2, "both_weight": 0.9},
}


@pytest.fixture(scope="module")
def floating():
    """Smooth emission and sources whose templates float, and a share of sources that is Poisson."""
    dots = {"xi": -9.0, "omega2": 0.1, "a": 0.0, "flux": 1e-7}
    mixture = Mixture(mixture=["nfw", "isotropic"], weight=(0.0, 1.0))
    model = SkyModel(
        [
            Smooth(name="sky", template=mixture, norm=0.3, spectrum="power-law"),
            PointSources(name="dots", template=Formula(formula="nfw", gamma=(0.9, 1.4)), populations=[dots]),
            PointSources(name="both", template=mixture, populations=[dots], poisson_share=0.3),
        ],
        region={"nside": 16, "radius": 20.0},
        energy_edges="2:20:2",
        exposure=1e10,
    )
    return Simulator(model)


@pytest.mark.parametrize("name", FLOATING)
def test_templates_that_float_are_drawn_alike(floating, name):
    """And for every map anew: parameters of one half of the maps are those of the other shape."""
    names = floating.model.prior().names
    theta = np.repeat(floating.model.prior().draw(1, np.random.default_rng(2)), 2 * N, axis=0)
    for half, told in ((slice(N), name), (slice(N, None), "steep" if name == "shallow" else "shallow")):
        theta[half, [names.index(each) for each in FLOATING[told]]] = list(FLOATING[told].values())
    compiled = floating.draw(theta, np.random.default_rng(5))
    tensors = DeviceSimulator(floating).draw(theta, seeded(6))
    for half in (slice(N), slice(N, None)):
        pair = [np.asarray(each.counts, dtype=np.float64)[half] for each in (compiled, tensors)]
        one, other = (summaries(floating.model, each) for each in pair)
        check_means(one, other)
        check_spreads(one[:, :2], other[:, :2])
        for column in (0, 1, -3, -2, -1):
            assert stats.ks_2samp(one[:, column], other[:, column]).pvalue > RARE
        for field in ("flux", "scd", "n_sources"):
            labels = [np.asarray(getattr(each, field), dtype=np.float64)[half] for each in (compiled, tensors)]
            check_means(*(each.reshape(N, -1) for each in labels))
    inner = np.hypot(*floating.model.region.glon_glat()) < 6
    light = np.asarray(tensors.counts).sum(axis=1)
    shares = [light[half][:, inner].sum() / light[half].sum() for half in (slice(N), slice(N, None))]
    assert abs(shares[0] - shares[1]) > 0.05  # the two shapes differ by more than errors


def test_expected_labels_are_those_of_the_parameters():
    """Against a table of 200,001 nodes. Linear interpolation between 512 nodes errs by h²/8 of the curvature: 10⁻³."""
    simulator = preset(nside=8, expected_labels=True)
    theta = simulator.model.prior().draw(10, np.random.default_rng(1))
    found = DeviceSimulator(simulator).draw(theta, seeded(2))
    populations = simulator.model.emission(theta).populations
    for i in range(len(theta)):
        *excess, disk = [(*each.shape[i], each.flux[i]) for each in populations]
        for j, parts in enumerate((excess, [disk])):
            scds = [SkewNormalScd(*each, n_node=200_001) for each in parts]
            flux = np.sum([scd.total_flux * scd.histogram(simulator.model.bins) for scd in scds], axis=0)
            np.testing.assert_allclose(found.scd[i, j].numpy(), flux / flux.sum(), atol=1e-3)
            np.testing.assert_allclose(found.flux[i, 4 + j].sum(), flux.sum(), rtol=1e-5)
            np.testing.assert_allclose(found.n_sources[i, j], sum(scd.n_sources for scd in scds), rtol=1e-3)


def test_wild_corners_give_finite_maps(simulator):
    names = simulator.model.prior().names
    theta = simulator.model.prior().draw(6, np.random.default_rng(0))
    column = names.index
    theta[0, column("disk_omega2")] = 0.0
    theta[1, column("disk_omega2")], theta[1, column("disk_xi")], theta[1, column("disk_a")] = 9.0, -9.0, 12.0
    theta[2, column("disk_omega2")], theta[2, column("disk_a")] = 9.0, -15.0
    theta[3, [column(f"{name}_flux") for name in ("disk", "gce1", "gce2")]] = 0.0
    theta[4, column("disk_spectrum_omega2")] = 0.0
    found = DeviceSimulator(simulator).draw(theta, seeded(1))
    assert all(torch.isfinite(each).all() for each in found)
    torch.testing.assert_close(found.scd.sum(dim=-1), torch.ones(6, 2))
    assert not found.n_sources[3].any()
    assert not found.flux[3, 4:].any()
    assert (found.scd[3, :, 0] == 1).all()
    dark = theta[3:4]
    dark[:, [i for i, name in enumerate(names) if name.endswith("_norm")]] = 0.0
    assert not DeviceSimulator(simulator).draw(dark, seeded(1)).counts.any()


# -- seeds, chunks, batches -----------------------------------------------------------------------------------------


def test_same_seed_same_maps(simulator):
    theta = simulator.model.prior().draw(5, np.random.default_rng(0))
    on_device = DeviceSimulator(simulator)
    one, again, other = (on_device.draw(theta, seeded(seed)) for seed in (1, 1, 2))
    assert all(torch.equal(a, b) for a, b in zip(one, again, strict=True))
    assert not torch.equal(one.counts, other.counts)
    assert one.counts.dtype == one.scd.dtype == torch.float32


@pytest.mark.parametrize("limit", ["_PHOTONS_AT_ONCE", "_CELLS_AT_ONCE"])
def test_chunks_keep_maps_apart(simulator, monkeypatch, limit):
    """Chunks of a few maps: every map keeps its own parameters, and totals agree with those of one chunk."""
    monkeypatch.setattr(device, limit, 2_000)
    theta = np.concatenate([theta_with(simulator, 1, xi=-9.0, omega2=0.1, a=0.0, flux=f) for f in (0, 4e-8, 2e-7)] * 40)
    on_device = DeviceSimulator(simulator)
    assert len(list(on_device._chunks(simulator.model.emission(theta)))) > 20
    found = on_device.draw(theta, seeded(3))
    compiled = simulator.draw(theta, np.random.default_rng(3))
    for each in range(3):
        check_means(found.n_sources[each::3].double().numpy(), compiled.n_sources[each::3])
        totals = [np.asarray(c, dtype=float)[each::3].sum(axis=2) for c in (found.counts, compiled.counts)]
        check_means(*totals)
    assert not found.n_sources[::3].any()


def test_a_training_goes_on_with_the_next_maps(simulator):
    """Also across the border of a shard."""
    whole = list(islice(device_batches(simulator, 50, 7), 5))
    later = list(islice(device_batches(simulator, 50, 7, start=150), 2))
    for one, other in zip(whole[3:], later, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))
    assert SHARD < 3 * 50
    theta = torch.cat([batch.theta for batch in whole])
    assert len(theta.unique(dim=0)) == len(theta)
    counts = torch.cat([batch.counts for batch in whole]).flatten(1)
    assert len(counts.unique(dim=0)) == len(counts)


def test_parameters_are_those_of_the_other_stream(simulator):
    on_device, compiled = next(device_batches(simulator, 40, 7)), next(fresh_batches(simulator, 40, 7))
    assert torch.equal(on_device.theta, compiled.theta)
    assert not torch.equal(on_device.counts, compiled.counts)


def test_images_are_refused():
    dots = PointSources(name="dots", template="nfw", populations=[{"xi": (-12, -10), "flux": (0, 1e-7)}])
    image = {"shape": (8, 8), "pixel_size": 2.0}
    model = SkyModel([dots], region=image, energy_edges=[2.0, 20.0], exposure=1e10)
    with pytest.raises(InputError, match="simulator: must draw HEALPix maps to draw on a device, draws "):
        DeviceSimulator(Simulator(model))


def test_bad_input_is_refused(simulator):
    with pytest.raises(InputError, match="batch_size: must be at least 1, got 0"):
        device_batches(simulator, 0, 1)
    with pytest.raises(InputError, match="seed, start: must not be negative, got 1, -5"):
        device_batches(simulator, 8, 1, start=-5)
    with pytest.raises(InputError, match="theta: must have shape"):
        DeviceSimulator(simulator).draw(np.zeros((2, 3)), seeded(1))
    on_device = DeviceSimulator(simulator)
    on_device.device = torch.device("meta")
    with pytest.raises(InputError, match="generator: must lie on the device meta, got cpu"):
        on_device.draw(np.zeros((2, 3)), seeded(1))
