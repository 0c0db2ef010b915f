"""The samplers by name. A new sampler needs an entry here and its name in samplers/names.py."""

from nelbo.samplers.ancestral import AncestralSampler
from nelbo.samplers.ddim import DDIMSampler
from nelbo.samplers.dpm_solver import DPMSolverPP, StochasticDPMSolverPP
from nelbo.samplers.probability_flow import EulerSampler, HeunSampler
from nelbo.samplers.sampler import Sampler
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
