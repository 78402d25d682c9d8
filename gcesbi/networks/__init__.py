"""Torch modules: what a network sees of a map, convolutions on a HEALPix face or graph, and heads."""

from gcesbi.networks.chebyshev import ChebyshevConvolution, ChebyshevEncoder
from gcesbi.networks.face import FaceEncoder, FaceImage
from gcesbi.networks.gaussian import (
    CholeskyGaussianHead,
    CholeskyOutput,
    GaussianHead,
    GaussianOutput,
    LowRankGaussianHead,
    LowRankOutput,
)
from gcesbi.networks.inputs import CountsInput, MapEmbedding
from gcesbi.networks.layers import LevelMeans, PixelLayer
from gcesbi.networks.quantile import QuantileHead, QuantileOutput, ShareQuantileHead

__all__ = [
    "ChebyshevConvolution",
    "ChebyshevEncoder",
    "CholeskyGaussianHead",
    "CholeskyOutput",
    "CountsInput",
    "FaceEncoder",
    "FaceImage",
    "GaussianHead",
    "GaussianOutput",
    "LevelMeans",
    "LowRankGaussianHead",
    "LowRankOutput",
    "MapEmbedding",
    "PixelLayer",
    "QuantileHead",
    "QuantileOutput",
    "ShareQuantileHead",
]
