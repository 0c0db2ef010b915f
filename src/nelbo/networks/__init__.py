"""Networks: any callable (x_t, t, label) -> tensor. They know no schedule; t is the network's own time."""

from nelbo.networks.classifier import Classifier, ClassifierOptions
from nelbo.networks.layers import Network
from nelbo.networks.mlp import MLP, MLPOptions
from nelbo.networks.precision import InBFloat16
from nelbo.networks.unet import UNet, UNetOptions

__all__ = ["MLP", "Classifier", "ClassifierOptions", "InBFloat16", "MLPOptions", "Network", "UNet", "UNetOptions"]
