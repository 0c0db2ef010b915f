from .classifier import Classifier
from .classifier_options import ClassifierOptions
from .dit import DiT
from .dit_options import DiTOptions
from .layers import Network
from .mlp import MLP
from .mlp_options import MLPOptions
from .monotone import MonotoneNetwork
from .pixel_options import PixelOptions
from .pixels import IntegerNetwork, PixelNetwork
from .precision import InBFloat16
from .unet import UNet
from .unet_options import UNetOptions

__all__ = [
    "MLP",
    "Classifier",
    "ClassifierOptions",
    "DiT",
    "DiTOptions",
    "InBFloat16",
    "IntegerNetwork",
    "MLPOptions",
    "MonotoneNetwork",
    "Network",
    "PixelNetwork",
    "PixelOptions",
    "UNet",
    "UNetOptions",
]
