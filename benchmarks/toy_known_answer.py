r"""A check with a known answer: neural posteriors against an exact one.

A sky of a few hundred equal pixels, one energy bin and no PSF: a flat Poisson template and one population of point
sources, whose dN/dlog₁₀F is a skew normal. Pixels are then independent, and their counts follow

.. math:: \sum_k p_k t^k = \exp\Big(A (t - 1) + \sum_{m \ge 1} x_m (t^m - 1)\Big), \qquad
          x_m = \frac{1}{n_\mathrm{pix}} \int \frac{dN}{dF}\, \mathrm{Poisson}(m; F \epsilon)\, dF ,

which a Fourier transform on the unit circle inverts. The likelihood of a map is a product over pixels, the posterior of
(A, ξ, ω², a, F_tot) is sampled by importance from the prior, and by moves of emcee that leave it as it is: no
approximation but Monte Carlo. It is independent of :mod:`gcesbi.baselines`.

Two comparisons, both with sbi's classifier two-sample test (C2ST; ½ if nobody can tell two samples apart, 1 if they
share nothing; Lopez-Paz & Oquab 2017, arXiv:1610.06545):

- NPE of θ: the *joint* posterior of the five parameters, three times: behind the face network with means over pixels
  (``NetworkSettings(means=True)``), behind a small network that sees how many pixels hold 0, 1, 2 ... counts, which is
  all that a map of this sky tells, and behind the face network without means.
- Source-count quantiles, trained on expected labels: a curve of one τ is no draw of the joint posterior of the flux
  bins, so that no joint law can be compared. But the quantiles of one bin are a whole marginal posterior, and
  τ ~ U(0, 1) draws from it: C2ST bin by bin, over the bins where the exact CDF's 95 % range is wider than 0.05. CDFs
  are compared to within 10⁻³: below it is 0, above 1 − 10⁻³ it is 1.

Run ``python benchmarks/toy_known_answer.py [--train 60000] [--maps 240000]``. Measured so (seed 1, 20 maps, standard
errors over maps; six processor minutes): source counts 0.555 ± 0.010, worst 0.66; NPE behind the face network with
means 0.587 ± 0.012, worst 0.73, held-out loss 3.44, behind the histogram 0.547 ± 0.006, worst 0.62, loss 3.32; the
prior against the exact posterior, for comparison, 0.945. The run was stopped before the face network without means.
Two exact samples of this size score 0.49 (0.47 to 0.52, six maps).

What it takes is steps of the optimiser, then the means. The loss of the exact posterior itself is known too (evidence
by importance, 500 maps). After 100,000 maps in batches of 256, NPE lies above it by 1.21 ± 0.06 nats a map behind the
face network, 1.06 ± 0.05 with means, 0.91 ± 0.05 behind the histogram. Batches of 64, thus four times as many steps,
take the last one (parameters made normal) from 0.82 ± 0.04 to 0.32 ± 0.03. With means C2ST is 0.610 ± 0.013 after
120,000 maps in batches of 64; without, it was 0.651 after 200,000 in batches of 256.
"""

from __future__ import annotations

import argparse
import itertools
import time
from dataclasses import dataclass, replace
from functools import cached_property

import emcee
import numpy as np
import torch
from sbi.utils.metrics import c2st
from scipy.special import gammaln, log_ndtr
from torch import nn

from gcesbi import Region, Simulator, SkyModel
from gcesbi.estimators import NetworkSettings, NpeEstimator, SourceCountEstimator, TrainingSettings
from gcesbi.physics.psf import PSF
from gcesbi.simulation import Map, PointSources, Smooth

EXPOSURE = 1e11  # cm² s: a flux of 10⁻¹¹ gives one count
CUT = -9.5  # log₁₀ of the brightest source: thirty counts
STEP = 0.02  # of the flux grid, log₁₀
N_FFT = 128
EDGE = 1e-9  # closest that a uniform number comes to 0 or 1


def toy_model(radius: float = 15.0, nside: int = 32, uneven: np.ndarray | None = None) -> SkyModel:
    """The sky, with labels of the parameters and not of the draw."""
    region = Region.disc(nside, radius, min_latitude=0)
    ones = np.ones(12 * nside**2)
    flux = 2 * region.n_pix / EXPOSURE
    dots = Map(values=ones if uneven is None else uneven, order="nested", smoothed=uneven is not None)
    return SkyModel(
        [
            Smooth(name="flat", template=Map(values=ones, order="nested", smoothed=True), norm=(0.0, 2.0)),
            PointSources(name="dots", template=dots, populations=[{"xi": (-11.5, -10.5), "flux": (0.0, flux)}]),
        ],
        region=region,
        energy_edges=[2.0, 20.0],
        exposure=EXPOSURE,
        psf=PSF.king(1.0, 1.0, 50.0, 1.0, 50.0, scale=1e-7),
        flux_cut=CUT,
        expected_labels=True,
    )


@dataclass(frozen=True)
class ExactPosterior:
    """Likelihood and posterior of the toy sky."""

    model: SkyModel

    @cached_property
    def grid(self) -> np.ndarray:
        """Nodes (n_node,) of log₁₀F; sources dimmer than the first give Poisson emission all the same."""
        return np.arange(-14.0, CUT + STEP / 2, STEP)

    @cached_property
    def _poisson(self) -> np.ndarray:
        """Probability (n_node, N_FFT) that a source of each flux gives m counts."""
        mean, m = EXPOSURE * 10 ** self.grid[:, None], np.arange(N_FFT)
        return np.exp(m * np.log(mean) - mean - gammaln(m + 1))

    def _weights(self, theta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Shares (n, n_node) of the sources at each flux, and their mean flux (n, 1)."""
        xi, omega2, a = theta[:, 1:4].T[:, :, None]
        z = (self.grid - xi) / np.sqrt(np.maximum(omega2, 1e-8))
        log_weight = -0.5 * z**2 + log_ndtr(a * z)
        weight = np.exp(log_weight - log_weight.max(axis=1, keepdims=True))
        weight[:, -1] /= 2  # the cut's half step
        weight /= weight.sum(axis=1, keepdims=True)
        return weight, (weight @ 10**self.grid)[:, None]

    def log_probabilities(self, theta: np.ndarray) -> np.ndarray:
        """ln p_k (n, N_FFT) of a pixel, for parameters (n, 5)."""
        weight, mean = self._weights(theta)
        x = theta[:, 4:] / mean / self.model.region.n_pix * (weight @ self._poisson)
        x[:, 1] += theta[:, 0]
        x[:, 0] = -x[:, 1:].sum(axis=1)
        return np.log(np.maximum(np.fft.irfft(np.exp(np.fft.rfft(x, axis=1)), n=N_FFT, axis=1), 1e-15))

    def log_likelihood(self, theta: np.ndarray, numbers: np.ndarray) -> np.ndarray:
        """Log-likelihoods (n, n_map) of parameters (n, 5), for numbers of pixels with k counts (n_map, N_FFT)."""
        parts = np.array_split(theta, -(-len(theta) // 512))
        return np.concatenate([self.log_probabilities(part) @ numbers.T for part in parts])

    def cdf(self, theta: np.ndarray) -> np.ndarray:
        """CDFs (n, n_bin) of the SCD histograms of parameters (n, 5)."""
        weight, _ = self._weights(theta)
        share = np.cumsum(weight * 10**self.grid, axis=1)
        node = np.floor((self.model.bins.edges[1:-1] - self.grid[0]) / STEP + 1e-9).astype(int)
        inner = share[:, np.clip(node, 0, len(self.grid) - 1)] / share[:, -1:]
        return np.concatenate([inner, np.ones((len(theta), 1))], axis=1)

    def sample(self, counts: np.ndarray, n: int, n_prior: int, n_steps: int, seed: int) -> np.ndarray:
        """Draw (n_map, n, 5) given maps (n_map, n_pix): importance from `n_prior` prior draws, then emcee's moves."""
        numbers = np.stack([np.bincount(each, minlength=N_FFT) for each in counts])
        rng = np.random.default_rng(seed)
        cube = rng.random((n_prior, 5)).clip(EDGE, 1 - EDGE)
        value = self.log_likelihood(self._theta(cube), numbers)
        drawn = []
        for each, number in zip(value.T, numbers, strict=True):
            weight = np.exp(each - each.max())
            chosen = rng.choice(n_prior, n, p=weight / weight.sum())
            start = emcee.State(cube[chosen], log_prob=each[chosen])
            drawn.append(self._theta(self._move(start, number[None], n_steps, int(rng.integers(2**31)))))
        return np.stack(drawn)

    def _move(self, start: emcee.State, number: np.ndarray, n_steps: int, seed: int) -> np.ndarray:
        def log_posterior(cube: np.ndarray) -> np.ndarray:
            inside = np.all((cube > EDGE) & (cube < 1 - EDGE), axis=1)
            value = np.full(len(cube), -np.inf)
            if inside.any():
                value[inside] = self.log_likelihood(self._theta(cube[inside]), number)[:, 0]
            return value

        moves = [(emcee.moves.DEMove(), 0.8), (emcee.moves.StretchMove(), 0.2)]
        sampler = emcee.EnsembleSampler(*start.coords.shape, log_posterior, moves=moves, vectorize=True)
        sampler.random_state = np.random.RandomState(seed).get_state()
        return sampler.run_mcmc(start, n_steps, skip_initial_state_check=True).coords

    def _theta(self, cube: np.ndarray) -> np.ndarray:
        return self.model.prior().from_uniform(cube)


class CountsHistogram(nn.Module):
    """Counts (n, 1, n_pix) to features (n, n_features) of the numbers of pixels that hold so many counts."""

    bounds = (0, 1, 2, 3, 4, 5, 6, 8, 10, 13, 17, 22, 30, N_FFT)

    def __init__(self, n_features: int) -> None:
        super().__init__()
        sizes = (len(self.bounds) - 1, n_features, n_features, n_features)
        layers = [(nn.Linear(a, b), nn.ReLU()) for a, b in itertools.pairwise(sizes)]
        self.layers = nn.Sequential(*itertools.chain(*layers))

    @property
    def inputs(self) -> CountsHistogram:
        """What :meth:`gcesbi.estimators.Estimator.prepare` standardises: nothing here."""
        return self

    def standardise(self, counts: torch.Tensor) -> None:
        """Leave the square roots of numbers as they are: Poisson noise is even in them."""

    def forward(self, counts: torch.Tensor) -> torch.Tensor:
        """Features of maps."""
        pairs = itertools.pairwise(self.bounds)
        numbers = torch.stack([((counts >= a) & (counts < b)).sum(dim=(1, 2)) for a, b in pairs], dim=1)
        return self.layers(torch.sqrt(numbers + 0.375) - 2)


class HistogramNpe(NpeEstimator):
    """NPE behind the counts' histogram."""

    def _embedding(self) -> CountsHistogram:
        return CountsHistogram(self.network.n_features)


@dataclass(frozen=True)
class Budget:
    """What a run may cost."""

    n_train: int = 60_000
    max_maps: int = 240_000
    n_test: int = 20
    n_sample: int = 1000
    n_prior: int = 50_000
    n_steps: int = 20
    n_bin: int = 4
    network: NetworkSettings = NetworkSettings(widths=(16, 32), n_features=128, means=True)  # noqa: RUF009 - frozen
    seed: int = 1

    @property
    def training(self) -> TrainingSettings:
        """Settings of all trainings."""
        return TrainingSettings(max_maps=self.max_maps, batch_size=64, precision="float32", seed=self.seed)


def score(first: np.ndarray, second: np.ndarray) -> float:
    """C2ST of two samples (n, d)."""
    return float(c2st(torch.as_tensor(first), torch.as_tensor(second), seed=1, classifier_kwargs={"n_estimators": 50}))


def score_of_curves(exact: np.ndarray, drawn: np.ndarray, n_bin: int) -> float:
    """Mean C2ST over at most `n_bin` flux bins, evenly chosen, of CDFs (n, n_bin) that are not known beforehand."""
    low, high = np.quantile(exact, [0.025, 0.975], axis=0)
    wide = np.flatnonzero(high - low > 0.05)
    chosen = wide[np.unique(np.linspace(0, len(wide) - 1, n_bin).round().astype(int))]
    exact, drawn = (np.where(x < 1e-3, 0.0, np.where(x > 1 - 1e-3, 1.0, x)) for x in (exact, drawn))
    return float(np.mean([score(exact[:, [i]], drawn[:, [i]]) for i in chosen]))


def npe_scores(kind, network, model, maps, test, truth, budget: Budget) -> tuple[np.ndarray, float]:
    """C2ST (n_map,) of a neural posterior against exact samples (n_map, n, 5), and its held-out loss."""
    npe = kind.for_model(model, ("theta",), n_layer=3, network=network, seed=budget.seed)
    history = npe.fit(maps, budget.training)
    theta = npe.sample(test.counts, budget.n_sample, seed=budget.seed)["theta"]
    return np.array([score(a, theta[:, i]) for i, a in enumerate(truth)]), history.validation_loss[-1]


def curve_scores(exact: ExactPosterior, maps, test, truth, budget: Budget) -> tuple[np.ndarray, float]:
    """C2ST (n_map,) of source-count quantiles against exact samples (n_map, n, 5), and their held-out loss."""
    model = exact.model
    curves = SourceCountEstimator.for_model(model, network=budget.network, seed=budget.seed)
    history = curves.fit(maps, budget.training)
    taus = np.random.default_rng(budget.seed).uniform(1e-6, 1 - 1e-6, budget.n_sample)
    cdf = curves.quantiles(test.counts, taus)[:, :, 0]
    scores = [score_of_curves(exact.cdf(a), cdf[:, i], budget.n_bin) for i, a in enumerate(truth)]
    return np.array(scores), history.validation_loss[-1]


def run(budget: Budget, log=lambda text: None) -> dict[str, np.ndarray]:
    """Draw, train and compare: C2ST of every test map (n_map,), of networks, and of the prior for comparison."""
    model = toy_model()
    simulator, exact = Simulator(model), ExactPosterior(model)
    maps = simulator.sample(budget.n_train, seed=budget.seed)
    test = simulator.sample(budget.n_test, seed=budget.seed + 1)
    truth = exact.sample(test.counts[:, 0], budget.n_sample, budget.n_prior, budget.n_steps, budget.seed)
    prior = model.prior().draw(budget.n_sample, np.random.default_rng(budget.seed))
    found = {"prior": np.array([score(a, prior) for a in truth])}
    log(summary("prior", found["prior"]))
    found["source counts"], loss = curve_scores(exact, maps, test, truth, budget)
    log(f"{summary('source counts', found['source counts'])}; held-out loss {loss:.4f}")
    maxima = replace(budget.network, means=False)
    kinds = (("NPE", NpeEstimator, budget.network), ("NPE, histogram", HistogramNpe, maxima))
    for name, kind, network in (*kinds, ("NPE, maxima", NpeEstimator, maxima)):
        found[name], loss = npe_scores(kind, network, model, maps, test, truth, budget)
        log(f"{summary(name, found[name])}; held-out loss {loss:.3f}")
    return found


def summary(name: str, scores: np.ndarray) -> str:
    """Mean C2ST with its standard error over maps, all of them, and the processor's time so far."""
    figures = f"{scores.mean():.3f} ± {scores.std(ddof=1) / np.sqrt(len(scores)):.3f}, worst {scores.max():.3f}"
    return f"{time.process_time():.0f} s: {name}, C2ST {figures}: {scores.round(2).tolist()}"


if __name__ == "__main__":
    torch.set_num_threads(1)
    parser = argparse.ArgumentParser()
    parser.add_argument("--train", type=int, default=Budget.n_train, help="maps to train on")
    parser.add_argument("--maps", type=int, default=Budget.max_maps, help="maps presented to each network")
    given = parser.parse_args()
    run(Budget(n_train=given.train, max_maps=given.maps), print)
