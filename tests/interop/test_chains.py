"""An imported chain takes the steps of diffusers' schedulers, and an exported chain takes ours."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

import nelbo
from nelbo.interop import export_model, import_model
from nelbo.interop.pipeline import WEIGHTS
from nelbo.networks import UNetOptions
from nelbo.recipes import ScheduleOptions
from nelbo.runs import DiffusionRun
from tests.interop.conftest import difference, noise, their_folder, their_unet

BETAS = [0.02 * (i + 1) for i in range(20)]
SCHEDULERS: dict[str, dict[str, Any]] = {
    "linear": {},
    "scaled_linear": {"beta_schedule": "scaled_linear"},
    "squaredcos_cap_v2": {"beta_schedule": "squaredcos_cap_v2"},
    "sigmoid": {"beta_schedule": "sigmoid"},
    "trained_betas": {"trained_betas": BETAS, "num_train_timesteps": 20},
    "sample": {"prediction_type": "sample"},
    "v_prediction": {"prediction_type": "v_prediction"},
    "fixed_small": {"variance_type": "fixed_small"},
    "fixed_small_log": {"variance_type": "fixed_small_log"},
    "fixed_large": {"variance_type": "fixed_large"},
    "learned_range": {"variance_type": "learned_range"},
    "clip_sample false": {"clip_sample": False},
}


def imported(tmp_path: Path, **settings: Any) -> tuple[Any, Any, DiffusionRun]:
    """Return a network and scheduler of diffusers, and the run imported from them."""
    channels = 6 if settings.get("variance_type") == "learned_range" else 3
    unet, scheduler = their_unet(out_channels=channels), diffusers.DDPMScheduler(**settings)
    import_model(their_folder(tmp_path / "theirs", unet, scheduler), tmp_path / "imported")
    return unet, scheduler, nelbo.load(tmp_path / "imported", device="cpu")


@pytest.fixture
def step(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Tensor]:
    """`step(unet, scheduler, x_t, t, z)`: x_{t-1} from diffusers with the standard normal draw z."""

    def take(unet: Any, scheduler: Any, x_t: Tensor, t: int, z: Tensor) -> Tensor:
        monkeypatch.setattr("diffusers.schedulers.scheduling_ddpm.randn_tensor", lambda shape, **_: z.expand(shape))
        with torch.no_grad():
            return scheduler.step(unet(x_t, t - 1).sample, t - 1, x_t).prev_sample  # type: ignore[no-any-return]

    return take


def agree(step: Callable[..., Tensor], unet: Any, scheduler: Any, run: DiffusionRun, tolerance: float) -> None:
    """Check that p_theta(x_{t-1}|x_t) has diffusers' mean and standard deviation."""
    reverse, total = run.reverse(variance="trained", clip=scheduler.config.clip_sample), run.schedule.num_steps
    for t in (1, 2, total // 3, total):
        x_t = run.schedule.noise_stddev[t].float() * noise(2, *run.shape) + run.schedule.signal[t].float() * 0.3
        with torch.no_grad():
            ours = reverse.transition(x_t, torch.tensor([t, t]))
        mean = step(unet, scheduler, x_t, t, torch.zeros(()))
        assert difference(ours.mean, mean) <= tolerance
        if t > 1:
            spread = step(unet, scheduler, x_t, t, torch.ones(())) - mean
            assert (ours.stddev - spread).abs().max() <= tolerance


@pytest.mark.parametrize("settings", SCHEDULERS.values(), ids=SCHEDULERS)
def test_imported_step_equals_diffusers(settings: dict[str, Any], tmp_path: Path, step: Any) -> None:
    unet, scheduler, run = imported(tmp_path, **settings)
    torch.testing.assert_close(run.schedule.betas[1:].float(), scheduler.betas, rtol=1e-4, atol=1e-7)
    agree(step, unet, scheduler, run, 1e-4)


THRESHOLDS: dict[str, tuple[dict[str, Any], dict[str, float]]] = {  # settings of diffusers, options of nelbo
    "sample_max_value 1 is clipping": ({"clip_sample": False}, {}),
    "a finite limit": ({"sample_max_value": 1.5}, {"threshold": 0.8, "threshold_max": 1.5}),
    "no limit": ({"sample_max_value": float("inf")}, {"threshold": 0.8}),
}


@pytest.mark.parametrize(("settings", "options"), THRESHOLDS.values(), ids=THRESHOLDS)
def test_thresholding_gives_the_samples_of_diffusers(
    settings: dict[str, Any], options: dict[str, float], tmp_path: Path
) -> None:
    settings = {"num_train_timesteps": 20, "beta_end": 0.6, "thresholding": True, **settings}
    unet, scheduler, run = imported(tmp_path, dynamic_thresholding_ratio=0.8, **settings)
    theirs = trajectory(unet, scheduler, 20, torch.Generator().manual_seed(7))
    sampler = run.sampler("ancestral", variance="trained", precision="fp32", **options)
    ours = list(sampler.trajectory((2, 3, 16, 16), torch.Generator().manual_seed(7)))
    assert max(difference(place.x_t, x_t) for place, x_t in zip(ours, theirs, strict=True)) <= 1e-4


def trajectory(unet: Any, scheduler: Any, steps: int, generator: torch.Generator) -> list[Tensor]:
    """Run diffusers' own loop from x_T to x_0."""
    scheduler.set_timesteps(steps)
    walk = [torch.randn(2, 3, 16, 16, generator=generator)]
    for k in scheduler.timesteps:
        with torch.no_grad():
            output = unet(walk[-1], k).sample
        walk.append(scheduler.step(output, int(k), walk[-1], generator=generator).prev_sample)
    return walk


@pytest.mark.parametrize("steps", [20, 10, 5])
@pytest.mark.parametrize("variance", ["fixed_small", "fixed_large", "learned_range"])
def test_trajectory_equals_diffusers_with_the_same_noise(variance: str, steps: int, tmp_path: Path) -> None:
    """If the number of steps divides T, "trailing" spacing keeps the same steps as our stride.

    At the last step of a stride diffusers still adds noise, as its k is not 0 there: harmless with a variance of 0,
    wrong with any other.
    """
    settings = {"num_train_timesteps": 20, "beta_end": 0.6, "timestep_spacing": "trailing", "variance_type": variance}
    unet, scheduler, run = imported(tmp_path, **settings)
    theirs = trajectory(unet, scheduler, steps, torch.Generator().manual_seed(7))
    sampler = run.sampler("ancestral", steps=steps, variance="trained", precision="fp32")
    ours = list(sampler.trajectory((2, 3, 16, 16), torch.Generator().manual_seed(7)))
    assert len(ours) == len(theirs) == steps + 1
    right = steps if steps == 20 or variance == "fixed_small" else steps - 1
    pairs = list(zip(ours, theirs, strict=True))[: right + 1]
    assert max(difference(place.x_t, x_t) for place, x_t in pairs) <= 1e-4


EXPORTED: dict[str, dict[str, Any]] = {
    "the paper's": {},
    "cosine": {"schedule": ScheduleOptions("cosine")},
    "log-linear": {"schedule": ScheduleOptions("log-linear", log_snr_max=9.0)},
    "a table": {"schedule": ScheduleOptions("table", 20, betas=tuple(BETAS))},
    "data": {"parameterization": "data"},
    "velocity": {"parameterization": "velocity"},
    "fixed-small": {"variance": "fixed-small"},
    "learned-range": {
        "variance": "learned-range",
        "loss": "hybrid",
        "network": UNetOptions(base=16, multipliers=(1, 2), blocks=1, groups=4, learned_variance=True),
    },
    "every option": {
        "network": UNetOptions(
            base=8,
            multipliers=(1, 2, 3),
            blocks=2,
            attention=(0, 2),
            middle_attention=False,
            head_width=4,
            groups=2,
            norm_eps=1e-3,
            symmetric_padding=True,
            frequency_shift=0,
        )
    },
    "two heads": {"network": UNetOptions(base=16, multipliers=(1, 2), blocks=1, attention=(1,), heads=2, groups=4)},
}


@pytest.mark.parametrize("recipe", EXPORTED.values(), ids=EXPORTED)
def test_exported_run_makes_the_same_predictions(
    recipe: dict[str, Any], tmp_path: Path, our_run: Callable[..., DiffusionRun], step: Any
) -> None:
    run = our_run(**recipe)
    export_model(run.folder, tmp_path / "out", format="diffusers")
    pipeline = diffusers.DDPMPipeline.from_pretrained(tmp_path / "out")
    unet, scheduler, x_t = pipeline.unet.eval(), pipeline.scheduler, noise(2, *run.shape)
    for t in (1, 2, run.schedule.num_steps):
        with torch.no_grad():
            expected, given = run.network(x_t, torch.tensor([t, t])), unet(x_t, t - 1).sample
        assert difference(given, expected) <= 1e-4  # the rotated time embedding rounds differently
    agree(step, unet, scheduler, run, 2e-4)

    import_model(tmp_path / "out", tmp_path / "back")
    back = nelbo.load(tmp_path / "back", device="cpu")
    with torch.no_grad():
        again = back.network(x_t, torch.tensor([t, t]))
    assert difference(again, expected) <= 1e-4
    assert (back.recipe.parameterization, back.recipe.variance) == (run.recipe.parameterization, run.recipe.variance)
    torch.testing.assert_close(back.schedule.alphas_bar, run.schedule.alphas_bar, rtol=1e-9, atol=0)


def test_pipeline_round_trip_keeps_the_weights(pipeline_folder: Path, tmp_path: Path) -> None:
    """Only the order of sines and cosines differs; no weight was rotated."""
    import_model(pipeline_folder, tmp_path / "run")
    export_model(tmp_path / "run", tmp_path / "out", format="diffusers")
    before, after = (load_file(place / "unet" / WEIGHTS) for place in (pipeline_folder, tmp_path / "out"))
    clock = "time_embedding.linear_1.weight"
    assert torch.equal(before.pop(clock), after.pop(clock).roll(8, 1))
    assert before.keys() == after.keys()
    assert all(torch.equal(after[name], weight) for name, weight in before.items())
