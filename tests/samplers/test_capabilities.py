"""What a sampler class says about itself, against what its walks do."""

import subprocess
import sys
from dataclasses import replace

import pytest
import torch

from nelbo.diffusion import FixedLarge, FixedSmall, NoiseSchedule, ReverseProcess
from nelbo.restoration import RePaintSampler
from nelbo.samplers import SAMPLER_NAMES, SAMPLERS, DDIMSampler, EulerSampler, HeunSampler, Sampler
from tests.diffusion.oracle import GaussianData

LINEAR = NoiseSchedule.linear()
PROCESS = ReverseProcess(GaussianData(0.3, 0.25).network(LINEAR), LINEAR.strided(5), variance=FixedSmall())
WITH_OPTIONS = {
    **{name: kind(PROCESS) for name, kind in SAMPLERS.items()},
    "ddim, eta": DDIMSampler(PROCESS, eta=0.5),
    "euler, churn": EulerSampler(PROCESS, churn=2.0),
    "heun, churn": HeunSampler(PROCESS, churn=2.0),
    "repaint": RePaintSampler(PROCESS, torch.zeros(1, 1, 2, 2), torch.eye(2, dtype=torch.bool), 1, 2),
}
every_sampler = pytest.mark.parametrize("sampler", WITH_OPTIONS.values(), ids=WITH_OPTIONS)


def end(sampler: Sampler, seed: int) -> torch.Tensor:
    """Walk down from a fixed x_T."""
    x_T = torch.linspace(-1, 1, 4).view(1, 1, 2, 2)
    *_, last = sampler.walk(x_T, 5, torch.Generator().manual_seed(seed))
    return last.x_0


@every_sampler
def test_draws_noise_says_whether_the_walk_is_random(sampler: Sampler):
    assert sampler.draws_noise == (not torch.equal(end(sampler, 0), end(sampler, 1)))


@every_sampler
def test_uses_variance_says_whether_the_walk_reads_it(sampler: Sampler):
    other = replace(sampler, reverse=replace(PROCESS, variance=FixedLarge()))
    assert sampler.uses_variance == (not torch.equal(end(sampler, 0), end(other, 0)))


def test_own_options_are_the_fields_beyond_reverse():
    own = {name: kind.own_options() for name, kind in SAMPLERS.items() if kind.own_options()}
    assert own == {"ddim": ("eta",), "euler": ("churn",), "heun": ("churn",)}


def test_names_and_registry_agree():
    assert tuple(SAMPLERS) == SAMPLER_NAMES


@pytest.mark.parametrize(
    "module", ["nelbo.samplers.names", "nelbo.restoration.damages.names", "nelbo.runs.restore_options"]
)
def test_names_and_options_load_without_torch(module: str):
    code = f"import {module}, sys; print([name for name in ('torch', 'numpy', 'PIL') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
