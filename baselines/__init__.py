"""Classical likelihoods to compare with: Poisson template fits and the non-Poissonian template fit (NPTF)."""

from gcesbi.baselines.nptf import NptfLikelihood, nptf_log_likelihood
from gcesbi.baselines.poisson import PoissonFit, PoissonFitResult, PoissonPosterior, poisson_log_likelihood

__all__ = [
    "NptfLikelihood",
    "PoissonFit",
    "PoissonFitResult",
    "PoissonPosterior",
    "nptf_log_likelihood",
    "poisson_log_likelihood",
]
