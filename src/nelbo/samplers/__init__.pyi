from .ancestral import AncestralSampler
from .ddim import DDIMSampler
from .dpm_solver import DPMSolverPP, StochasticDPMSolverPP
from .interpolation import Interpolation, interpolations
from .multistep import MultistepSampler
from .names import SAMPLER_NAMES
from .probability_flow import EulerSampler, FlowSampler, HeunSampler
from .registry import SAMPLERS
from .sampler import Sampler, Step
from .shared import SharedLatent, shared_latents
from .unipc import UniPCSampler

__all__ = [
    "SAMPLERS",
    "SAMPLER_NAMES",
    "AncestralSampler",
    "DDIMSampler",
    "DPMSolverPP",
    "EulerSampler",
    "FlowSampler",
    "HeunSampler",
    "Interpolation",
    "MultistepSampler",
    "Sampler",
    "SharedLatent",
    "Step",
    "StochasticDPMSolverPP",
    "UniPCSampler",
    "interpolations",
    "shared_latents",
]
