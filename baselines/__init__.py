"""Classical likelihoods to compare with: Poisson template fits and the non-Poissonian template fit (NPTF)."""

from gcesbi.baselines.density_family import DensityFamily
from gcesbi.baselines.ensemble import Ensemble
from gcesbi.baselines.evidence import BayesFactor, bayes_factor
from gcesbi.baselines.goodness_of_fit import (
    DeviantPixel,
    GoodnessOfFit,
    deviance,
    deviant_pixels,
    goodness_of_fit,
)
from gcesbi.baselines.joint_spectra import JointFit, JointFitResult
from gcesbi.baselines.maximum import Maximum, maximise
from gcesbi.baselines.nested import NestedConvergence, NestedSampling
from gcesbi.baselines.nptf import NptfGradient, NptfLikelihood, nptf_log_likelihood
from gcesbi.baselines.nptf_fit import NPTF
from gcesbi.baselines.nptf_posterior import NptfPosterior
from gcesbi.baselines.nptf_priors import ModelPriors, NptfPriors, ShapePriors
from gcesbi.baselines.nuts import ChainConvergence, Nuts
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
from gcesbi.baselines.target import Limits, Sampled, Target
from gcesbi.baselines.tempering import IslandConvergence, Tempering

__all__ = [
    "NPTF",
    "BayesFactor",
    "BrokenPowerLaws",
    "Chain",
    "ChainConvergence",
    "ChainSettings",
    "Convergence",
    "DensityFamily",
    "DeviantPixel",
    "Ensemble",
    "Fixed",
    "GoodnessOfFit",
    "IslandConvergence",
    "JointFit",
    "JointFitResult",
    "Limits",
    "LogParabola",
    "Maximum",
    "ModelPriors",
    "NestedConvergence",
    "NestedSampling",
    "NormPrior",
    "NptfGradient",
    "NptfLikelihood",
    "NptfPosterior",
    "NptfPriors",
    "Nuts",
    "PoissonChainPosterior",
    "PoissonFit",
    "PoissonFitResult",
    "PoissonPosterior",
    "PowerLaw",
    "PsfCorrection",
    "Sampled",
    "SamplingWarning",
    "ShapePriors",
    "ShapeProfile",
    "SkewNormal",
    "SkewNormals",
    "Target",
    "Tempering",
    "TemplateSpectrum",
    "UserTemplate",
    "bayes_factor",
    "compare_templates",
    "deviance",
    "deviant_pixels",
    "goodness_of_fit",
    "maximise",
    "nptf_log_likelihood",
    "poisson_deviance",
    "poisson_log_likelihood",
    "psf_correction",
    "run_emcee",
    "shape_profile",
    "slope_by_diffuse_model",
]
