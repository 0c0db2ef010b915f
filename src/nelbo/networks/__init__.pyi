from .classifier import Classifier
from .classifier_options import ClassifierOptions
from .layers import Network
from .mlp import MLP
from .mlp_options import MLPOptions
from .precision import InBFloat16
from .unet import UNet
from .unet_options import UNetOptions

__all__ = ["MLP", "Classifier", "ClassifierOptions", "InBFloat16", "MLPOptions", "Network", "UNet", "UNetOptions"]
