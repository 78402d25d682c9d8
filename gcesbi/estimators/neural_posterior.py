"""Neural posteriors of named quantities: sbi's NPE and FMPE behind this library's networks.

The network of :mod:`gcesbi.networks` makes features of a map, sbi's density estimator gives the joint density of the
quantities (:data:`gcesbi.estimators.NEURAL_QUANTITIES`) given the features. They train in the library's loop, are
stored as safetensors and refuse maps of another sky, like every other estimator. Unlike the quantiles of
:class:`gcesbi.estimators.SourceCountEstimator` and the Gaussian of :class:`gcesbi.estimators.SpectralEstimator` their
samples are of the *joint* posterior: correlations between quantities may be read from them.

Whoever prefers sbi's own trainer takes :func:`map_embedding`: see ``docs/howto/sbi.md``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from gcesbi.errors import InputError
from gcesbi.estimators.base import Estimator, NetworkSettings
from gcesbi.estimators.neural_posterior_quantities import NamedQuantities
from gcesbi.networks import MapEmbedding
from gcesbi.posterior import Coordinates, SamplePosterior, asked
from gcesbi.simulation.expected import expected_quantities
from gcesbi.simulation.model import SkyModel
from gcesbi.simulation.prior import Prior
from gcesbi.simulation.simulations import Simulations
from gcesbi.sky import Grid

if TYPE_CHECKING:
    from sbi.inference.posteriors import DirectPosterior

    from gcesbi.estimators.neural_posterior_density import DensityHead

__all__ = ["FmpeEstimator", "NeuralPosteriorEstimator", "NpeEstimator", "SbiPosterior", "map_embedding"]

_QUANTITIES = ("flux_fraction", "scd_mean", "scd_width")


class NeuralPosteriorEstimator(Estimator):
    """Joint density of named quantities given a map.

    Parameters
    ----------
    region, exposure, names, network, fingerprint, seed
        See :class:`gcesbi.estimators.base.Estimator`.
    quantities : sequence of str
        Among :data:`gcesbi.estimators.NEURAL_QUANTITIES`, and parameters by name, as those of floating templates.
    point_sources, flux_bin, parameters
        See :class:`gcesbi.estimators.neural_posterior_quantities.NamedQuantities`.
    hidden : int
        Width of the density estimator's networks.
    n_layer : int
        Spline transforms, or layers of the velocity's network.

    Raises
    ------
    InputError
        If a quantity is unknown (the nearest valid one is named), or something that it needs is not given.
    """

    head: DensityHead
    quantities: NamedQuantities

    def __init__(
        self,
        region: Grid,
        exposure: ArrayLike,
        names: Sequence[str],
        *,
        quantities: Sequence[str] = _QUANTITIES,
        point_sources: Sequence[str] = (),
        flux_bin: Sequence[float] = (),
        parameters: Mapping[str, Sequence[float | None]] | None = None,
        hidden: int = 64,
        n_layer: int = 5,
        **common: Any,
    ) -> None:
        if min(hidden, n_layer) < 1:
            raise InputError(f"hidden, n_layer: must be at least 1, got {hidden}, {n_layer}")
        self.hidden, self.n_layer = hidden, n_layer
        self.quantities = NamedQuantities(
            names=tuple(quantities),
            template=tuple(names),
            point_source=tuple(point_sources),
            n_energy=len(np.atleast_2d(exposure)),
            flux_bin=tuple(float(x) for x in flux_bin),
            parameters={name: (low, high) for name, (low, high) in (parameters or {}).items()},
        )
        super().__init__(region, exposure, names, **common)

    @classmethod
    def for_model(cls, model: Any, quantities: Sequence[str] | None = None, **settings: Any) -> Self:
        """An untrained estimator for a model's maps; `settings` are the estimator's other arguments."""
        chosen = {} if quantities is None else {"quantities": quantities}
        return super().for_model(model, **chosen, **settings)

    @classmethod
    def _labels(cls, model: Any) -> dict[str, Any]:
        return {
            "names": model.names,
            "point_sources": model.point_sources,
            "flux_bin": model.coordinates.flux_bin,
            "parameters": _bounds(model.prior()),
        }

    def _more_identity(self) -> dict[str, Any]:
        return {**self.quantities.to_dict(), "hidden": self.hidden, "n_layer": self.n_layer}

    def targets(self, simulations: Simulations) -> Tensor:
        """Labels (n, n_real), carried to the real line; SCD moments are dequantised with noise of a fixed seed."""
        return self.quantities.to_real(self.quantities.labels(simulations)).float()

    def loss(self, output: Tensor, targets: Tensor) -> Tensor:
        """Loss that sbi states: the negative log density, or the squared error of the velocity; mean over maps."""
        return self.head.loss(output, targets)

    @torch.no_grad()
    def sample(self, counts: ArrayLike, n: int, seed: int = 0) -> dict[str, NDArray[np.float64]]:
        """Draw from the joint posterior: name -> array (n, n_map, *axes of the quantity).

        Parameters
        ----------
        counts : array (n_map, n_energy, n_pix), photons
        n : int
        seed : int
        """
        n, seed = asked(n, seed)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            real = torch.cat([self.head.sample(features, n) for features in self.outputs(counts)], dim=1)
        return {name: value.numpy() for name, value in self.quantities.to_values(real).items()}

    @torch.no_grad()
    def log_prob(self, counts: ArrayLike, values: Mapping[str, ArrayLike]) -> NDArray[np.float64]:
        """Log density (n_map,) of one value (n_map, *axes) of every quantity per map.

        The density is one of the shares of a simplex but its last.
        """
        counts = np.asarray(counts)
        real = self.quantities.to_real(values)
        if real.shape[:-1] != counts.shape[:1]:
            raise InputError(
                f"values: must hold one for each of {len(counts)} maps, got shape {tuple(real.shape[:-1])}"
            )
        features = torch.cat(list(self.outputs(counts)))
        density = self.head.log_prob(real[None].float(), features)[0].double()
        return (density - self.quantities.log_jacobian(real)).numpy()

    def sbi_posterior(self, prior: Prior) -> DirectPosterior:
        """Posterior object of sbi over θ, for its diagnostics (SBC, TARP, L-C2ST) and whatever else it offers.

        Parameters
        ----------
        prior : Prior
            ``model.prior()``.

        Raises
        ------
        InputError
            If the estimator is not one of ``"theta"`` alone, or the prior has other parameters.
        """
        from sbi.inference.posteriors import DirectPosterior

        from gcesbi.estimators.neural_posterior_density import DensityOfMaps

        if self.quantities.names != ("theta",):
            raise InputError(f"quantities: must be ('theta',) for a posterior of sbi, got {self.quantities.names}")
        if _bounds(prior) != dict(self.quantities.parameters):
            raise InputError(
                f"prior: must have the estimator's parameters and bounds, {', '.join(self.quantities.parameters)}, "
                f"got {', '.join(prior.names)}"
            )
        return DirectPosterior(DensityOfMaps(self, self.quantities), prior)


class NpeEstimator(NeuralPosteriorEstimator):
    """Neural posterior estimation with a spline flow: see :class:`NeuralPosteriorEstimator` for the arguments."""

    kind = "npe"

    def _head(self) -> DensityHead:
        from gcesbi.estimators.neural_posterior_density import SplineFlowHead

        return SplineFlowHead(self.network.n_features, self.quantities.n_real, self.hidden, self.n_layer)


class FmpeEstimator(NeuralPosteriorEstimator):
    """Flow matching posterior estimation: see :class:`NeuralPosteriorEstimator` for the arguments."""

    kind = "fmpe"

    def _head(self) -> DensityHead:
        from gcesbi.estimators.neural_posterior_density import FlowMatchingHead

        return FlowMatchingHead(self.network.n_features, self.quantities.n_real, self.hidden, self.n_layer)


class SbiPosterior(SamplePosterior):
    """Samples of a neural posterior on one observation; parameters, where θ is among the quantities, under their names.

    SCD moments carry the dequantisation's noise of a tenth of a flux bin, and of 10 % of the width.
    """

    @classmethod
    def of(
        cls,
        estimator: NeuralPosteriorEstimator,
        counts: ArrayLike,
        coordinates: Coordinates,
        n: int = 4096,
        seed: int = 0,
        *,
        model: SkyModel | None = None,
    ) -> SbiPosterior:
        """Draw `n` samples given the counts (n_energy, n_pix) of one observation.

        With the model, samples of θ also say what is expected of them: ``flux``, ``flux_fraction``, ``scd_cdf`` and
        ``n_sources``, as far as the estimator does not know them by itself.
        """
        drawn = {name: value[:, 0] for name, value in estimator.sample(np.asarray(counts)[None], n, seed).items()}
        named: dict[str, NDArray[np.float64]] = {}
        expected: dict[str, NDArray[np.float64]] = {}
        if "theta" in drawn:
            theta = drawn.pop("theta")
            named = dict(zip(estimator.quantities.parameters, theta.T, strict=True))
            expected = expected_quantities(model, theta) if model is not None else {}
        return cls(estimator.kind.upper(), coordinates, {**expected, **drawn, **named})


def map_embedding(
    model: SkyModel, counts: ArrayLike, *, network: NetworkSettings | None = None, seed: int = 0
) -> MapEmbedding:
    """Network of this library as the ``embedding_net`` of sbi's ``posterior_nn``, ``posterior_flow_nn`` and the like.

    It takes counts and standardises them by itself: give sbi's builders ``z_score_x="none"``.

    Parameters
    ----------
    model : SkyModel
    counts : array (n, n_energy, n_pix), photons
        Maps whose statistics standardise the input.
    network : NetworkSettings, optional
    seed : int
        Of the initial weights.
    """
    estimator = NpeEstimator.for_model(model, ("flux",), network=network, seed=seed)
    estimator.check_counts(np.asarray(counts))
    estimator.embedding.inputs.standardise(torch.as_tensor(np.asarray(counts, dtype=np.float32)))
    return estimator.embedding


def _bounds(prior: Prior) -> dict[str, tuple[float | None, float | None]]:
    """Bounds of every parameter of a prior, None where there is none."""
    ends = (marginal.range for marginal in prior.marginals)
    found = (tuple(end if math.isfinite(end) else None for end in each) for each in ends)
    return dict(zip(prior.names, found, strict=True))  # type: ignore[arg-type]
