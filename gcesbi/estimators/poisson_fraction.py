"""How much of the excess may be Poisson emission, as dark matter gives: from a median SCD to quantiles of the share.

Sources far dimmer than one photon are Poisson emission for any practical purpose, so that a source-count network
answers Poisson emission with a dim SCD. How dim, and with what scatter, depends on the network. It is learnt here (the
third network of List et al. 2025, arXiv:2507.17804; List et al. 2021, arXiv:2107.09070): maps are drawn whose excess
has a share η that is exactly Poisson, with η's parameter uniform in [0, 1] and the rest of the excess drawn from the
model's prior of sources; the trained source-count network answers each with a median SCD; and a small dense network
learns the quantiles q_t of η given the median SCD, by the pinball loss at levels t ~ U(0, 1). It ends in the head of
:mod:`gcesbi.networks.quantile` with a single value, so that quantiles cannot cross.

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

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from gcesbi.errors import InputError
from gcesbi.estimators.losses import pinball
from gcesbi.estimators.source_counts import SourceCountEstimator, network_digest, stratified_levels
from gcesbi.estimators.training.checkpoint import differences
from gcesbi.networks import QuantileHead
from gcesbi.physics.scd import cdf_to_pdf
from gcesbi.posterior import Coordinates, Posterior, check_levels

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


class PoissonFraction(nn.Module):
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

    mean: Tensor
    std: Tensor
    dimmest: Tensor

    def __init__(
        self, log_flux: ArrayLike, name: str = "gce", *, source_counts: str = "", n_hidden: int = 64, seed: int = 0
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
            self.head = QuantileHead(n_hidden, 1, 2)
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
        n_train = len(cdf) - len(cdf) // 10
        inputs, labels = self._inputs(cdf), torch.from_numpy(share).float()
        self.mean.copy_(inputs[:n_train].mean(dim=0))
        self.std.copy_(inputs[:n_train].std(dim=0).clamp_min(1e-3))
        self.dimmest.fill_(np.quantile(brightness(cdf[:n_train], self.log_flux), _DIM))
        self.head.set_prior(torch.stack([labels[:n_train], torch.ones(n_train)], dim=1)[:, None])
        train, held_out = (inputs[:n_train], labels[:n_train]), (inputs[n_train:], labels[n_train:])
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            train_loss, least = self._descend(train, held_out, n_step, min(batch_size, n_train))
        low, high, limit = (self.quantiles(cdf[n_train:], level)[0] for level in (0.05, 0.95, 0.95))
        truth = share[n_train:]
        own = torch.quantile(labels[:n_train], _midpoints())
        return PoissonFractionHistory(
            n_train,
            len(truth),
            train_loss,
            least,
            float(pinball(held_out[1][:, None] - own, _midpoints()).mean()),
            float(np.mean((low <= truth) & (truth <= high))),
            float(np.mean(truth <= limit)),
        )

    def quantiles(self, cdf: ArrayLike, levels: ArrayLike) -> NDArray[np.float64]:
        """Quantiles (n_level, n) of the Poisson share, given median SCDs (n, n_bin) as CDFs."""
        level = torch.from_numpy(check_levels(levels)).float().clamp(1e-6, 1 - 1e-6)
        with torch.no_grad():
            found = self._shares(self._inputs(self._checked(cdf)), level)
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
            "kind": "poisson_fraction",
            "log_flux": self.log_flux.tolist(),
            "name": self.name,
            "source_counts": self.source_counts,
            "n_hidden": self.n_hidden,
        }

    def save(self, path: str | Path, notes: Mapping[str, Any] | None = None) -> Path:
        """Write one safetensors file, with identity, library version and notes (JSON-ready) in its header."""
        path = Path(path)
        card = {"version": version("gcesbi"), "identity": self.identity(), "notes": dict(notes or {})}
        tensors = {name: value.contiguous() for name, value in self.state_dict().items()}
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(path.name + ".partial")
        save_file(tensors, partial, metadata={"card": json.dumps(card)})
        partial.replace(path)
        return path

    def _descend(
        self, train: tuple[Tensor, Tensor], held_out: tuple[Tensor, Tensor], n_step: int, batch_size: int
    ) -> tuple[float, float]:
        """AdamW with half a cosine; keeps the best weights on held-out labels; returns both losses."""
        optimizer = torch.optim.AdamW(self.parameters(), 2e-3, weight_decay=1e-2)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, n_step)
        least, best, running = np.inf, self.state_dict(), []
        for step in range(n_step):
            rows = torch.randint(len(train[1]), (batch_size,))
            level = stratified_levels(batch_size, _N_LEVEL)
            loss = pinball(train[1][rows, None] - self._shares(train[0][rows], level), level).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            running.append(float(loss.detach()))
            if (step + 1) % 50 == 0 or step + 1 == n_step:
                found = self._held_out_loss(*held_out)
                if found < least:
                    least, best = found, {name: value.clone() for name, value in self.state_dict().items()}
        self.load_state_dict(best)
        return float(np.mean(running[-200:])), least

    @torch.no_grad()
    def _held_out_loss(self, inputs: Tensor, labels: Tensor) -> float:
        return float(pinball(labels[:, None] - self._shares(inputs, _midpoints()), _midpoints()).mean())

    def _shares(self, inputs: Tensor, level: Tensor) -> Tensor:
        """Quantiles (n, n_level) of the share at levels (n_level,) or (n, n_level)."""
        output = self.head(self.body((inputs - self.mean) / self.std))
        return torch.sigmoid(self.head.logits(output, level))[:, :, 0, 0]

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
    path = Path(path)
    try:
        with safe_open(path, framework="pt") as file:
            card = json.loads((file.metadata() or {})["card"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
        found, identity = card["version"], card["identity"]
    except (SafetensorError, KeyError, OSError, json.JSONDecodeError) as error:
        raise InputError(f"poisson fraction {path}: must be a whole file of such a network ({error})") from error
    if found.split(".")[:2] != version("gcesbi").split(".")[:2]:
        raise InputError(f"poisson fraction {path}: made by gcesbi {found}, this is gcesbi {version('gcesbi')}")
    wanted = identity | {"source_counts": network_digest(source_counts)}
    if unlike := differences(identity, wanted):
        raise InputError(
            f"poisson fraction {path}: trained behind another source-count network, run `gcesbi poisson-fraction` "
            f"again; {'; '.join(unlike)}"
        )
    estimator = PoissonFraction(
        identity["log_flux"],
        identity["name"],
        source_counts=identity["source_counts"],
        n_hidden=identity["n_hidden"],
    )
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


def _midpoints() -> Tensor:
    """Levels at which held-out losses are taken."""
    return (torch.arange(_N_LEVEL) + 0.5) / _N_LEVEL
