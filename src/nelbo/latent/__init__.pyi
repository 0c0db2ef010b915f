from .autoencoder import Autoencoder
from .bound import LatentBound, latent_bound
from .evaluation import evaluate_latent
from .measuring import measure_pixel_scale, measure_scale
from .objective import LatentObjective
from .options import AutoencoderOptions, FirstStageOptions
from .process import ContinuousReverse
from .report import LatentReport
from .scale import LatentScale
from .set_of_latents import EncodedImages, Latents, encoded_moments
from .space import LatentSpace

__all__ = [
    "Autoencoder",
    "AutoencoderOptions",
    "ContinuousReverse",
    "EncodedImages",
    "FirstStageOptions",
    "LatentBound",
    "LatentObjective",
    "LatentReport",
    "LatentScale",
    "LatentSpace",
    "Latents",
    "encoded_moments",
    "evaluate_latent",
    "latent_bound",
    "measure_pixel_scale",
    "measure_scale",
]
