"""Images of the Galactic Centre, from pictures to the share of sources (Caron et al. 2018, arXiv:1708.06706)."""

from gcesbi.images import steps
from gcesbi.images.binned_errors import BinnedErrors
from gcesbi.images.estimators import ImageNetworkSettings, ImageNpe, ShareEstimator, ShareQuantiles, activations
from gcesbi.images.run import NETWORKS, ImageRun, LearningCurve
from gcesbi.images.settings import ImageRunSettings, load_image_settings

__all__ = [
    "NETWORKS",
    "BinnedErrors",
    "ImageNetworkSettings",
    "ImageNpe",
    "ImageRun",
    "ImageRunSettings",
    "LearningCurve",
    "ShareEstimator",
    "ShareQuantiles",
    "activations",
    "load_image_settings",
    "steps",
]
