"""Classical likelihoods to compare with: Poisson template fits and the non-Poissonian template fit (NPTF).

Names are imported when they are first used: the Poisson fit needs no torch, and no sampler's library is loaded unasked.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gcesbi.baselines.nptf.energies import EnergyGradient, NptfEnergyLikelihood, nptf_energy_log_likelihood
    from gcesbi.baselines.nptf.fit import NPTF
    from gcesbi.baselines.nptf.likelihood import NptfLikelihood, nptf_log_likelihood
    from gcesbi.baselines.nptf.priors import ModelPriors, NptfPriors, ShapePriors
    from gcesbi.baselines.nptf.psf_correction import PsfCorrection, psf_correction
    from gcesbi.baselines.nptf.sampled_posterior import NptfPosterior, log_bayes_factor
    from gcesbi.baselines.nptf.scd_family import BrokenPowerLaws
    from gcesbi.baselines.nptf.skew_normal_family import SkewNormals
    from gcesbi.baselines.poisson.fit import PoissonFit, PoissonFitResult
    from gcesbi.baselines.poisson.goodness_of_fit import (
        DeviantPixel,
        GoodnessOfFit,
        deviance,
        deviant_pixels,
        goodness_of_fit,
    )
    from gcesbi.baselines.poisson.halo_slope import SlopeFit, fit_slope
    from gcesbi.baselines.poisson.likelihood import poisson_deviance, poisson_log_likelihood
    from gcesbi.baselines.poisson.many_adaptive import AdaptiveFits, fit_adaptive_maps
    from gcesbi.baselines.poisson.many_maps import poisson_fractions
    from gcesbi.baselines.poisson.norm_posteriors import PoissonChainPosterior, PoissonPosterior
    from gcesbi.baselines.poisson.priors import Fixed, NormPrior, UserTemplate
    from gcesbi.baselines.poisson.spectral_fit import SpectralFit, SpectralFitResult
    from gcesbi.baselines.poisson.spectrum import TemplateSpectrum
    from gcesbi.baselines.samplers.ensemble import Ensemble
    from gcesbi.baselines.samplers.importance import ImportanceSampling
    from gcesbi.baselines.samplers.maximum import Maximum, maximise
    from gcesbi.baselines.samplers.nested import NestedConvergence, NestedSampling
    from gcesbi.baselines.samplers.nuts import ChainConvergence, Nuts
    from gcesbi.baselines.samplers.sampling import Chain, Convergence, SamplingWarning, run_emcee
    from gcesbi.baselines.samplers.target import Limits, Sampled, Target
    from gcesbi.baselines.samplers.weighed import ImportanceConvergence

_HOMES = {
    "nptf.energies": ("EnergyGradient", "NptfEnergyLikelihood", "nptf_energy_log_likelihood"),
    "nptf.fit": ("NPTF",),
    "nptf.likelihood": ("NptfLikelihood", "nptf_log_likelihood"),
    "nptf.sampled_posterior": ("NptfPosterior", "log_bayes_factor"),
    "nptf.priors": ("ModelPriors", "NptfPriors", "ShapePriors"),
    "nptf.psf_correction": ("PsfCorrection", "psf_correction"),
    "nptf.scd_family": ("BrokenPowerLaws",),
    "nptf.skew_normal_family": ("SkewNormals",),
    "poisson.fit": ("PoissonFit", "PoissonFitResult"),
    "poisson.goodness_of_fit": ("DeviantPixel", "GoodnessOfFit", "deviance", "deviant_pixels", "goodness_of_fit"),
    "poisson.likelihood": ("poisson_deviance", "poisson_log_likelihood"),
    "poisson.many_adaptive": ("AdaptiveFits", "fit_adaptive_maps"),
    "poisson.many_maps": ("poisson_fractions",),
    "poisson.norm_posteriors": ("PoissonChainPosterior", "PoissonPosterior"),
    "poisson.priors": ("Fixed", "NormPrior", "UserTemplate"),
    "poisson.halo_slope": ("SlopeFit", "fit_slope"),
    "poisson.spectral_fit": ("SpectralFit", "SpectralFitResult"),
    "poisson.spectrum": ("TemplateSpectrum",),
    "samplers.ensemble": ("Ensemble",),
    "samplers.maximum": ("Maximum", "maximise"),
    "samplers.nested": ("NestedConvergence", "NestedSampling"),
    "samplers.importance": ("ImportanceSampling",),
    "samplers.nuts": ("ChainConvergence", "Nuts"),
    "samplers.sampling": ("Chain", "Convergence", "SamplingWarning", "run_emcee"),
    "samplers.target": ("Limits", "Sampled", "Target"),
    "samplers.weighed": ("ImportanceConvergence",),
}

__all__ = [
    "NPTF",
    "AdaptiveFits",
    "BrokenPowerLaws",
    "Chain",
    "ChainConvergence",
    "Convergence",
    "DeviantPixel",
    "EnergyGradient",
    "Ensemble",
    "Fixed",
    "GoodnessOfFit",
    "ImportanceConvergence",
    "ImportanceSampling",
    "Limits",
    "Maximum",
    "ModelPriors",
    "NestedConvergence",
    "NestedSampling",
    "NormPrior",
    "NptfEnergyLikelihood",
    "NptfLikelihood",
    "NptfPosterior",
    "NptfPriors",
    "Nuts",
    "PoissonChainPosterior",
    "PoissonFit",
    "PoissonFitResult",
    "PoissonPosterior",
    "PsfCorrection",
    "Sampled",
    "SamplingWarning",
    "ShapePriors",
    "SkewNormals",
    "SlopeFit",
    "SpectralFit",
    "SpectralFitResult",
    "Target",
    "TemplateSpectrum",
    "UserTemplate",
    "deviance",
    "deviant_pixels",
    "fit_adaptive_maps",
    "fit_slope",
    "goodness_of_fit",
    "log_bayes_factor",
    "maximise",
    "nptf_energy_log_likelihood",
    "nptf_log_likelihood",
    "poisson_deviance",
    "poisson_fractions",
    "poisson_log_likelihood",
    "psf_correction",
    "run_emcee",
]


def __getattr__(name: str) -> Any:
    """A public name, from the module that holds it."""
    for home, names in _HOMES.items():
        if name in names:
            return getattr(import_module(f"gcesbi.baselines.{home}"), name)
    raise AttributeError(f"module 'gcesbi.baselines' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
