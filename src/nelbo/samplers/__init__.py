"""Ways down the chain: one file each, one contract; and what can be seen by starting them in the middle of it."""

from nelbo.samplers.ancestral import AncestralSampler
from nelbo.samplers.ddim import DDIMSampler
from nelbo.samplers.dpm_solver import DPMSolverPP, StochasticDPMSolverPP
from nelbo.samplers.interpolation import Interpolation, interpolations
from nelbo.samplers.multistep import MultistepSampler
from nelbo.samplers.probability_flow import EulerSampler, FlowSampler, HeunSampler
from nelbo.samplers.sampler import Sampler, Step
from nelbo.samplers.shared import SharedLatent, shared_latents
from nelbo.samplers.unipc import UniPCSampler

SAMPLERS: dict[str, type[Sampler]] = {
    "ancestral": AncestralSampler,
    "ddim": DDIMSampler,
    "dpm-solver++": DPMSolverPP,
    "dpm-solver++sde": StochasticDPMSolverPP,
    "euler": EulerSampler,
    "heun": HeunSampler,
    "unipc": UniPCSampler,
}

__all__ = [
    "SAMPLERS",
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
