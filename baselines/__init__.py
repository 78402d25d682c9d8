"""Classical likelihoods to compare with: Poisson template fits and the non-Poissonian template fit (NPTF)."""

from gcesbi.baselines.goodness_of_fit import (
    DeviantPixel,
    GoodnessOfFit,
    deviance,
    deviant_pixels,
    goodness_of_fit,
)
from gcesbi.baselines.joint_spectra import JointFit, JointFitResult
from gcesbi.baselines.nptf import NptfGradient, NptfLikelihood, nptf_log_likelihood
from gcesbi.baselines.nptf_fit import NPTF
from gcesbi.baselines.nptf_posterior import NptfPosterior
from gcesbi.baselines.nptf_priors import ModelPriors, NptfPriors, ShapePriors
from gcesbi.baselines.poisson import PoissonFit, PoissonFitResult
from gcesbi.baselines.poisson_likelihood import poisson_deviance, poisson_log_likelihood
from gcesbi.baselines.poisson_posterior import ChainSettings, PoissonChainPosterior, PoissonPosterior
from gcesbi.baselines.poisson_priors import Fixed, NormPrior, UserTemplate
from gcesbi.baselines.poisson_spectrum import TemplateSpectrum
from gcesbi.baselines.profiles import ShapeProfile, compare_templates, shape_profile, slope_by_diffuse_model
from gcesbi.baselines.psf_correction import PsfCorrection, psf_correction
from gcesbi.baselines.sampling import Chain, Convergence, SamplingWarning, run_emcee
from gcesbi.baselines.scd_family import BrokenPowerLaws
from gcesbi.baselines.skew_normal_family import SkewNormals
from gcesbi.baselines.spectral_families import LogParabola, PowerLaw, SkewNormal

__all__ = [
    "NPTF",
    "BrokenPowerLaws",
    "Chain",
    "ChainSettings",
    "Convergence",
    "DeviantPixel",
    "Fixed",
    "GoodnessOfFit",
    "JointFit",
    "JointFitResult",
    "LogParabola",
    "ModelPriors",
    "NormPrior",
    "NptfGradient",
    "NptfLikelihood",
    "NptfPosterior",
    "NptfPriors",
    "PoissonChainPosterior",
    "PoissonFit",
    "PoissonFitResult",
    "PoissonPosterior",
    "PowerLaw",
    "PsfCorrection",
    "SamplingWarning",
    "ShapePriors",
    "ShapeProfile",
    "SkewNormal",
    "SkewNormals",
    "TemplateSpectrum",
    "UserTemplate",
    "compare_templates",
    "deviance",
    "deviant_pixels",
    "goodness_of_fit",
    "nptf_log_likelihood",
    "poisson_deviance",
    "poisson_log_likelihood",
    "psf_correction",
    "run_emcee",
    "shape_profile",
    "slope_by_diffuse_model",
]
