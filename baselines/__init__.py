"""Classical likelihoods to compare with: Poisson template fits and the non-Poissonian template fit (NPTF)."""

from gcesbi.baselines.nptf import NptfGradient, NptfLikelihood, nptf_log_likelihood
from gcesbi.baselines.nptf_fit import NPTF, NptfPosterior, NptfPriors
from gcesbi.baselines.poisson import PoissonFit, PoissonFitResult, PoissonPosterior, poisson_log_likelihood
from gcesbi.baselines.psf_correction import PsfCorrection, psf_correction
from gcesbi.baselines.sampling import Chain, Convergence, SamplingWarning, run_emcee

__all__ = [
    "NPTF",
    "Chain",
    "Convergence",
    "NptfGradient",
    "NptfLikelihood",
    "NptfPosterior",
    "NptfPriors",
    "PoissonFit",
    "PoissonFitResult",
    "PoissonPosterior",
    "PsfCorrection",
    "SamplingWarning",
    "nptf_log_likelihood",
    "poisson_log_likelihood",
    "psf_correction",
    "run_emcee",
]
