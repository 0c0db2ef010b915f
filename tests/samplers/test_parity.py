"""Our fast samplers against the schedulers of diffusers, at steps where those are right (N divides T, "trailing")."""

import pytest
import torch
from torch import Tensor

from nelbo.diffusion import NoiseSchedule, ReverseProcess
from nelbo.samplers import DDIMSampler, DPMSolverPP, Sampler, StochasticDPMSolverPP, UniPCSampler
from nelbo.samplers import multistep as drawing

diffusers = pytest.importorskip("diffusers", reason="diffusers (the extra `test`) is the independent implementation")

LINEAR = NoiseSchedule.linear()
COMMON = {
    "num_train_timesteps": 1000,
    "beta_start": 1e-4,
    "beta_end": 0.02,
    "beta_schedule": "linear",
    "prediction_type": "epsilon",
    "timestep_spacing": "trailing",
}


def noise_of(x_t: Tensor, time: Tensor) -> Tensor:
    """A smooth nonlinear network; `time` is in our numbering, 1..T."""
    return torch.sin(1.3 * x_t + time.view(-1, 1, 1, 1) / 400) + 0.2 * x_t


def theirs(scheduler, x_T: Tensor, steps: int, **options) -> list[Tensor]:
    scheduler.set_timesteps(steps)
    x, path = x_T, [x_T]
    for k in scheduler.timesteps:
        t = torch.full((len(x),), int(k) + 1)
        x = scheduler.step(noise_of(x, t), k, x, **options).prev_sample
        path.append(x)
    return path


def ours(kind: type[Sampler], x_T: Tensor, steps: int, **options) -> list[Tensor]:
    sampler = kind(ReverseProcess(noise_of, LINEAR.strided(steps)), **options)
    return [step.x_t for step in sampler.walk(x_T, steps, None)]


@pytest.fixture
def x_T() -> Tensor:
    return torch.randn(3, 2, 4, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def compare(mine: list[Tensor], other: list[Tensor], tolerance: float = 1e-4) -> None:
    assert len(mine) == len(other)
    for a, b in zip(mine, other, strict=True):
        assert float((a - b).abs().max()) <= tolerance * max(1.0, float(b.abs().max()))


@pytest.mark.parametrize("steps", [1, 2, 5, 10, 20, 50, 100, 250, 1000])
def test_ddim_matches_diffusers(x_T: Tensor, steps: int):
    scheduler = diffusers.DDIMScheduler(**COMMON, clip_sample=False, set_alpha_to_one=True)
    compare(ours(DDIMSampler, x_T, steps), theirs(scheduler, x_T, steps, eta=0.0))


@pytest.mark.parametrize("eta", [0.3, 1.0])
def test_ddim_with_noise_matches_diffusers(x_T: Tensor, eta: float, monkeypatch: pytest.MonkeyPatch):
    noise = torch.full_like(x_T, 0.7)
    monkeypatch.setattr(drawing, "standard_normal", lambda shape, generator, like: noise)
    scheduler = diffusers.DDIMScheduler(**COMMON, clip_sample=False, set_alpha_to_one=True)
    other = theirs(scheduler, x_T, 20, eta=eta, variance_noise=noise)
    compare(ours(DDIMSampler, x_T, 20, eta=eta), other)


@pytest.mark.parametrize("steps", [1, 2, 5, 10, 20, 50, 100])
def test_dpm_solver_matches_diffusers(x_T: Tensor, steps: int):
    scheduler = diffusers.DPMSolverMultistepScheduler(**COMMON, solver_order=2, final_sigmas_type="zero")
    compare(ours(DPMSolverPP, x_T, steps), theirs(scheduler, x_T, steps))


@pytest.mark.parametrize("steps", [2, 10, 50])
def test_dpm_solver_with_noise_matches_diffusers(x_T: Tensor, steps: int, monkeypatch: pytest.MonkeyPatch):
    noise = torch.full_like(x_T, 0.7)
    monkeypatch.setattr(drawing, "standard_normal", lambda shape, generator, like: noise)
    scheduler = diffusers.DPMSolverMultistepScheduler(
        **COMMON, algorithm_type="sde-dpmsolver++", solver_order=2, final_sigmas_type="zero"
    )
    compare(ours(StochasticDPMSolverPP, x_T, steps), theirs(scheduler, x_T, steps, variance_noise=noise))


@pytest.mark.parametrize("steps", [1, 2, 5, 10, 20, 50, 100])
def test_unipc_matches_diffusers(x_T: Tensor, steps: int):
    scheduler = diffusers.UniPCMultistepScheduler(
        **COMMON, solver_order=2, solver_type="bh2", final_sigmas_type="zero", predict_x0=True
    )
    sampler = UniPCSampler(ReverseProcess(noise_of, LINEAR.strided(steps)))
    mine = [step.x_t for step in sampler.walk(x_T, steps, None)]
    scheduler.set_timesteps(steps)
    x, places = x_T, []
    for k in scheduler.timesteps:
        x = scheduler.step(noise_of(x, torch.full((3,), int(k) + 1)), k, x).prev_sample
        places.append(scheduler.last_sample)  # the corrected start of the step
    compare(mine, [*places, x])
