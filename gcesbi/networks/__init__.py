"""Torch modules: what a network sees of a map, convolutions on the HEALPix face, and heads."""

from gcesbi.networks.face import FaceEncoder, FaceImage
from gcesbi.networks.heads import GaussianHead, GaussianOutput, QuantileHead, QuantileOutput
from gcesbi.networks.inputs import CountsInput, MapEmbedding

__all__ = [
    "CountsInput",
    "FaceEncoder",
    "FaceImage",
    "GaussianHead",
    "GaussianOutput",
    "MapEmbedding",
    "QuantileHead",
    "QuantileOutput",
]
