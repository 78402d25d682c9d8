"""How much of the excess may be Poisson emission, as dark matter gives: from a median SCD to quantiles of the share.

Sources far dimmer than one photon are Poisson emission for any practical purpose, so that a source-count network
answers Poisson emission with a dim SCD. How dim, and with what scatter, depends on the network. It is learnt here (the
third network of List et al. 2025, arXiv:2507.17804; List et al. 2021, arXiv:2107.09070): maps are drawn whose excess
has a share η that is exactly Poisson, with η's parameter uniform in [0, 1] and the rest of the excess drawn from the
model's prior of sources; the trained source-count network answers each with a median SCD; and a small dense network
learns the quantiles q_t of η given the median SCD, by the pinball loss at levels t ~ U(0, 1). It ends in a
:class:`gcesbi.networks.quantile.ShareQuantileHead`, so that quantiles cannot cross.

The label η is the Poisson flux divided by the excess' whole flux in the map. It is the share that is *exactly* Poisson:
what the dim end of the prior of sources emits is on the other side of the account, though no map can tell it apart.
The answer therefore depends on that prior, as it does on the uniform prior of η.

**What can be said.** With q_t the t-quantile of η: at confidence t the Poisson share is below q_t, that is at least
1 − q_t of the excess' flux is from point sources. So at 95 % confidence dark matter that would make more than q_95 of
the excess is excluded, and 1 − q_95 is the most that can be excluded: :meth:`PoissonFraction.excluded`.

**Extrapolation.** The brightness of an SCD is Σ_i p_i log₁₀F_i, its mean log flux weighted with flux, F_i the centres
of the flux bins. A median SCD of less brightness than 99 % of those in training is flagged: the network has hardly seen
its like.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn

from gcesbi.errors import InputError
from gcesbi.estimators.files import check_version, differences, read_tensors, write_tensors
from gcesbi.estimators.losses import levels_of_loss, pinball
from gcesbi.estimators.poisson_fraction_maps import PoissonShares
from gcesbi.estimators.source_counts import SourceCountEstimator, network_digest
from gcesbi.estimators.training.loop import train
from gcesbi.estimators.training.settings import TrainingSettings
from gcesbi.estimators.training.trainable import Batch, Trainable
from gcesbi.networks.quantile import QuantileOutput, ShareQuantileHead
from gcesbi.physics.scd import cdf_to_pdf
from gcesbi.posterior import Coordinates, Posterior, asked, check_levels

__all__ = [
    "PoissonFraction",
    "PoissonFractionHistory",
    "PoissonFractionPosterior",
    "brightness",
    "load_poisson_fraction",
]

_DIM = 0.01  # quantile of the training set's brightness below which an input is flagged
_TAIL = 1e-4  # log odds of the CDF are cut there
_N_LEVEL = 32
_VALIDATE_EVERY = 50  # steps


def brightness(cdf: ArrayLike, log_flux: ArrayLike) -> NDArray[np.float64]:
    """Mean log₁₀ flux, weighted with flux, of SCDs (..., n_bin) given as CDFs; `log_flux` (n_bin,) are bin centres."""
    return cdf_to_pdf(cdf) @ np.asarray(log_flux, dtype=np.float64)


@dataclass(frozen=True)
class PoissonFractionHistory:
    """What a training did.

    Attributes
    ----------
    n_train, n_validation : int
        Median SCDs.
    train_loss, validation_loss : float
        Mean pinball loss at the end; the validation's is the least that was met, whose weights are kept.
    prior_loss : float
        Validation loss of the training labels' own quantiles: what an answer without any data would give.
    coverage_90 : float
        Share of validation labels inside the central 90 % interval.
    below_95 : float
        Share of validation labels below the 0.95-quantile.
    """

    n_train: int
    n_validation: int
    train_loss: float
    validation_loss: float
    prior_loss: float
    coverage_90: float
    below_95: float

    def to_dict(self) -> dict[str, float]:
        """JSON-ready dictionary."""
        return asdict(self)


class PoissonFraction(Trainable):
    """Quantiles of the Poisson share of one template, given its median SCD.

    Parameters
    ----------
    log_flux : array (n_bin,)
        Centres of the flux bins, log₁₀ of photons / cm² / s.
    name : str
        Point-source template.
    source_counts : str
        :func:`gcesbi.estimators.source_counts.network_digest` of the network that gives the median SCDs.
    n_hidden : int
        Width of the two hidden layers.
    seed : int
        Of the initial weights.
    """

    kind = "poisson_fraction"
    head: ShareQuantileHead
    mean: Tensor
    std: Tensor
    dimmest: Tensor

    def __init__(
        self, log_flux: ArrayLike, name: str, *, source_counts: str = "", n_hidden: int = 64, seed: int = 0
    ) -> None:
        super().__init__()
        self.log_flux = np.asarray(log_flux, dtype=np.float64)
        if self.log_flux.ndim != 1 or len(self.log_flux) < 2:
            raise InputError(f"log_flux: must be a vector of at least 2 bin centres, got shape {self.log_flux.shape}")
        self.name, self.source_counts, self.n_hidden = name, source_counts, n_hidden
        n_in = len(self.log_flux) - 1
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.body = nn.Sequential(
                nn.Linear(2 * n_in, n_hidden), nn.SiLU(), nn.Linear(n_hidden, n_hidden), nn.SiLU()
            )
            self.head = ShareQuantileHead(n_hidden)
        self.register_buffer("mean", torch.zeros(2 * n_in))
        self.register_buffer("std", torch.ones(2 * n_in))
        self.register_buffer("dimmest", torch.tensor(-np.inf, dtype=torch.float64))
        self.eval()

    def fit(
        self, cdf: ArrayLike, share: ArrayLike, *, n_step: int = 1500, batch_size: int = 256, seed: int = 0
    ) -> PoissonFractionHistory:
        """Train on median SCDs and true shares; the last tenth is held out, and the best weights on it are kept.

        Parameters
        ----------
        cdf : array (n, n_bin)
            Median SCDs of the template, as CDFs.
        share : array (n,)
            Poisson flux over the template's whole flux, in [0, 1].
        n_step, batch_size : int
        seed : int
            Of the order of maps and the levels.

        Raises
        ------
        InputError
            If there are fewer than 100 maps, or shapes or values are wrong.
        """
        cdf, share = self._checked(cdf), np.asarray(share, dtype=np.float64)
        if share.shape != cdf.shape[:1] or len(share) < 100 or not np.all((share >= 0) & (share <= 1)):
            raise InputError(
                f"share: needs one number in [0, 1] for each of at least 100 SCDs, got shape {share.shape}"
            )
        maps, n_train = PoissonShares(cdf, share), len(cdf) - len(cdf) // 10
        learnt, held_out = maps[:n_train], maps[n_train:]
        batch_size = min(batch_size, n_train)
        settings = TrainingSettings(
            max_maps=n_step * batch_size,
            batch_size=batch_size,
            learning_rate=2e-3,
            warmup=0.0,
            precision="float32",
            validate_every=_VALIDATE_EVERY * batch_size,
            patience=n_step,  # it never ends early, and the best weights are kept
            seed=seed,
        )
        self.dimmest.fill_(np.quantile(brightness(learnt.cdf, self.log_flux), _DIM))
        done = train(self, learnt, settings, held_out)
        low, high = self.quantiles(held_out.cdf, [0.05, 0.95])
        level = levels_of_loss(1, _N_LEVEL, training=False)[0].double()
        own, truth = torch.quantile(torch.from_numpy(learnt.share), level), torch.from_numpy(held_out.share)
        return PoissonFractionHistory(
            n_train=len(learnt),
            n_validation=len(held_out),
            train_loss=float(np.mean(done.train_loss[-4:])),
            validation_loss=min(done.validation_loss),
            prior_loss=float(pinball(truth[:, None] - own, level).mean()),
            coverage_90=float(np.mean((low <= held_out.share) & (held_out.share <= high))),
            below_95=float(np.mean(held_out.share <= high)),
        )

    def batch_of(self, maps: PoissonShares) -> Batch:
        """CDF values and their log odds but for the last bin, (n, 2 (n_bin - 1)), and shares (n,)."""
        return Batch(self._inputs(maps.cdf), torch.from_numpy(maps.share).float())

    def prepare(self, inputs: Tensor, targets: Tensor) -> None:
        """Standardise the input, and let the head start from the labels' distribution."""
        self.mean.copy_(inputs.mean(dim=0))
        self.std.copy_(inputs.std(dim=0).clamp_min(1e-3))
        self.head.set_prior(targets)

    def forward(self, inputs: Tensor) -> QuantileOutput:
        """Quantile functions of the share."""
        found: QuantileOutput = self.head(self.body((inputs - self.mean) / self.std))
        return found

    def loss(self, output: QuantileOutput, targets: Tensor) -> Tensor:
        """Mean pinball loss; levels are drawn afresh in training, and fixed in evaluation."""
        level = levels_of_loss(len(targets), _N_LEVEL, self.training, targets.device)
        return pinball(targets[:, None] - self.head.share(output, level), level).mean()

    def quantiles(self, cdf: ArrayLike, levels: ArrayLike) -> NDArray[np.float64]:
        """Quantiles (n_level, n) of the Poisson share, given median SCDs (n, n_bin) as CDFs."""
        level = torch.from_numpy(check_levels(levels)).float().clamp(1e-6, 1 - 1e-6)
        with torch.no_grad():
            found = self.head.share(self(self._inputs(self._checked(cdf))), level)
        return found.T.double().numpy()

    def upper_limit(self, cdf: ArrayLike, confidence: float = 0.95) -> NDArray[np.float64]:
        """Share (n,) below which the Poisson share lies at this confidence: its quantile q."""
        return self.quantiles(cdf, confidence)[0]

    def excluded(self, cdf: ArrayLike, confidence: float = 0.95) -> NDArray[np.float64]:
        """Largest share (n,) of the flux that can be said, at this confidence, not to be Poisson: 1 − q."""
        return 1 - self.upper_limit(cdf, confidence)

    def extrapolates(self, cdf: ArrayLike) -> NDArray[np.bool_]:
        """Whether median SCDs (n, n_bin) are dimmer than 99 % of the training set, by :func:`brightness`: (n,)."""
        return brightness(self._checked(cdf), self.log_flux) < float(self.dimmest)

    def identity(self) -> dict[str, Any]:
        """What must agree for weights to be used."""
        return {
            "kind": self.kind,
            "log_flux": self.log_flux.tolist(),
            "name": self.name,
            "source_counts": self.source_counts,
            "n_hidden": self.n_hidden,
        }

    def save(self, path: str | Path, notes: Mapping[str, Any] | None = None) -> Path:
        """Write one safetensors file, with identity, library version and notes (JSON-ready) in its header."""
        card = {"version": version("gcesbi"), "identity": self.identity(), "notes": dict(notes or {})}
        write_tensors(Path(path), self.state_dict(), {"card": card})
        return Path(path)

    def _inputs(self, cdf: NDArray[np.float64]) -> Tensor:
        """CDF values and their log odds but for the last bin, (n, 2 (n_bin - 1))."""
        inner = torch.from_numpy(cdf[:, :-1]).float()
        return torch.cat([inner, torch.logit(inner.clamp(_TAIL, 1 - _TAIL))], dim=1)

    def _checked(self, cdf: ArrayLike) -> NDArray[np.float64]:
        cdf = np.asarray(cdf, dtype=np.float64)
        if cdf.ndim != 2 or cdf.shape[1] != len(self.log_flux):
            raise InputError(f"cdf: must have shape (n, {len(self.log_flux)}), got {cdf.shape}")
        if not np.all((cdf >= 0) & (cdf <= 1 + 1e-6)):
            raise InputError(f"cdf: must lie in [0, 1], got {cdf.min()} to {cdf.max()}")
        return cdf


def load_poisson_fraction(path: str | Path, source_counts: SourceCountEstimator) -> PoissonFraction:
    """Read what :meth:`PoissonFraction.save` wrote, for use behind the given source-count network.

    Raises
    ------
    InputError
        If the file is missing, truncated, from another version of the library (first two numbers), or was trained
        behind another source-count network.
    """
    must = f"poisson fraction {path}: must be a whole file of such a network"
    tensors, (card,) = read_tensors(Path(path), ("card",), must)
    check_version(card["version"], f"poisson fraction {path}")
    identity = card["identity"]
    wanted = identity | {"source_counts": network_digest(source_counts)}
    if unlike := differences(identity, wanted):
        raise InputError(
            f"poisson fraction {path}: trained behind another source-count network, run `gcesbi poisson-fraction` "
            f"again; {'; '.join(unlike)}"
        )
    own = {name: value for name, value in identity.items() if name != "kind"}
    estimator = PoissonFraction(**own)
    estimator.load_state_dict(tensors)
    return estimator.eval()


class PoissonFractionPosterior(Posterior):
    """Posterior of the Poisson share of one template on one observation: ``poisson_fraction``, a number.

    Parameters
    ----------
    estimator : PoissonFraction
    median_cdf : array (n_bin,)
        Median SCD of the template, as a CDF, by the network that the estimator was trained behind.
    coordinates : Coordinates
    method : str
    """

    def __init__(
        self,
        estimator: PoissonFraction,
        median_cdf: ArrayLike,
        coordinates: Coordinates,
        method: str = "neural Poisson fraction",
    ) -> None:
        self.method, self.coordinates, self.estimator = method, coordinates, estimator
        self.median_cdf = np.asarray(median_cdf, dtype=np.float64)[None]
        self.extrapolates = bool(estimator.extrapolates(self.median_cdf)[0])

    @property
    def names(self) -> tuple[str, ...]:
        """Quantities that this posterior knows."""
        return ("poisson_fraction",)

    def sample(self, n: int, seed: int = 0) -> dict[str, NDArray[np.float64]]:
        """Draw `n` shares (n,), by inverting the quantile function."""
        n, seed = asked(n, seed)
        levels = np.random.default_rng(seed).uniform(size=n).clip(1e-6, 1 - 1e-6)
        return {"poisson_fraction": self.estimator.quantiles(self.median_cdf, levels)[:, 0]}

    def quantiles(self, name: str, levels: ArrayLike, seed: int = 0) -> NDArray[np.float64]:
        """Exact quantiles (n_level,)."""
        self._check(name)
        return self.estimator.quantiles(self.median_cdf, levels)[:, 0]

    def statement(self, confidence: float = 0.95) -> str:
        """What can be said, in a sentence or two; the second warns of extrapolation."""
        limit = float(self.estimator.upper_limit(self.median_cdf, confidence)[0])
        told = (
            f"At {100 * confidence:g} % confidence the Poisson share of {self.estimator.name} is below "
            f"{100 * limit:.1f} %: at most {100 * (1 - limit):.1f} % of its flux can be excluded from being smooth "
            "emission such as dark matter's."
        )
        if self.extrapolates:
            told += " Extrapolation: the median SCD is dimmer than 99 % of those in training; do not quote the limit."
        return told
