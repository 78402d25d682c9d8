"""Classical likelihoods to compare with: Poisson template fits and the non-Poissonian template fit (NPTF)."""

from gcesbi.baselines.nptf.fit import NPTF
from gcesbi.baselines.nptf.likelihood import NptfGradient, NptfLikelihood, nptf_log_likelihood
from gcesbi.baselines.nptf.posterior import NptfPosterior
from gcesbi.baselines.nptf.priors import ModelPriors, NptfPriors, ShapePriors
from gcesbi.baselines.nptf.psf_correction import PsfCorrection, psf_correction
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
from gcesbi.baselines.poisson.likelihood import poisson_deviance, poisson_log_likelihood
from gcesbi.baselines.poisson.posterior import ChainSettings, PoissonChainPosterior, PoissonPosterior
from gcesbi.baselines.poisson.priors import Fixed, NormPrior, UserTemplate
from gcesbi.baselines.poisson.profiles import ShapeProfile, compare_templates, shape_profile, slope_by_diffuse_model
from gcesbi.baselines.poisson.spectrum import TemplateSpectrum
from gcesbi.baselines.samplers.ensemble import Ensemble
from gcesbi.baselines.samplers.maximum import Maximum, maximise
from gcesbi.baselines.samplers.nested import NestedConvergence, NestedSampling
from gcesbi.baselines.samplers.nuts import ChainConvergence, Nuts
from gcesbi.baselines.samplers.sampling import Chain, Convergence, SamplingWarning, run_emcee
from gcesbi.baselines.samplers.target import Limits, Sampled, Target

__all__ = [
    "NPTF",
    "BrokenPowerLaws",
    "Chain",
    "ChainConvergence",
    "ChainSettings",
    "Convergence",
    "DeviantPixel",
    "Ensemble",
    "Fixed",
    "GoodnessOfFit",
    "Limits",
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
    "PsfCorrection",
    "Sampled",
    "SamplingWarning",
    "ShapePriors",
    "ShapeProfile",
    "SkewNormals",
    "Target",
    "TemplateSpectrum",
    "UserTemplate",
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
