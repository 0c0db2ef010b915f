"""Which sampler, how many steps, which spacing and which guidance sampling has by default, counted at the network."""

from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from nelbo.data import load_data
from nelbo.errors import ConfigurationError, ScheduleError
from nelbo.options import help_of
from nelbo.recipes import Recipe, ScheduleOptions
from nelbo.runs import DiffusionRun, SamplingOptions
from nelbo.runs.data_options import DataOptions
from nelbo.runs.folder import RunConfig
from nelbo.samplers import SAMPLER_NAMES, SAMPLERS, AncestralSampler, StochasticDPMSolverPP
from nelbo.studies.pictures import show_run

FAST = [name for name in SAMPLER_NAMES if name != "ancestral"]
T = 60


class Counting(nn.Module):
    """Predicts no noise, and records t and the batch size of every call."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(()))
        self.times: list[int] = []
        self.sizes: list[int] = []

    def forward(self, x_t: Tensor, t: Tensor, label: Tensor | None = None) -> Tensor:
        self.times.append(int(t.flatten()[0]))
        self.sizes.append(len(x_t))
        return self.weight * x_t


@pytest.fixture(autouse=True)
def only_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    """A bfloat16 copy of the network would keep the count to itself."""
    monkeypatch.setattr("nelbo.runs.diffusion_model.bf16_wanted", lambda precision: False)


def run_of(num_steps: int, **changes: Any) -> DiffusionRun:
    schedule = ScheduleOptions("log-linear", num_steps, log_snr_max=6.0, log_snr_min=-8.0)
    recipe = Recipe(schedule=schedule, parameterization="noise", loss="simple", **changes)
    classes = tuple(str(digit) for digit in range(10)) if recipe.conditional else ()
    config = RunConfig(recipe, DataOptions("digits", (1, 8, 8), 17, 1500, 297, class_names=classes), "digits")
    return DiffusionRun.of(Path("nowhere"), config, Counting().requires_grad_(False).eval(), {})


def calls(run: DiffusionRun) -> list[int]:
    """Return t of every network call since the last time, and forget them."""
    network = run.network
    assert isinstance(network, Counting)
    times, network.times = network.times, []
    return times


def guided(run: DiffusionRun, num: int) -> list[int]:
    """Return t of the calls with twice `num` images since the last time, and forget all calls."""
    network = run.network
    assert isinstance(network, Counting) and set(network.sizes) <= {num, 2 * num}
    sizes, network.sizes = network.sizes, []
    return [t for t, size in zip(calls(run), sizes, strict=True) if size == 2 * num]


def kept(run: DiffusionRun, steps: int, spacing: str) -> list[int]:
    """Return the t that a stride keeps, from T down."""
    return run.reverse(steps=steps, spacing=spacing).schedule.timesteps[1:].flip(0).tolist()


def test_default_is_the_stochastic_solver_with_20_karras_steps():
    run = run_of(T)
    run.sample(2)
    assert calls(run) == kept(run, 20, "karras") != kept(run, 20, "even")
    assert type(run.sampler()) is StochasticDPMSolverPP and run.sampler().calls == 20
    explicit = {"sampler": "dpm-solver++sde", "steps": 20, "spacing": "karras"}
    assert torch.equal(run.sample(2, seed=5), run.sample(2, seed=5, **explicit))
    assert not torch.equal(run.sample(2, seed=5), run.sample(2, seed=5, sampler="ancestral"))


def test_ancestral_keeps_the_whole_chain():
    run = run_of(T)
    run.sample(2, sampler="ancestral")
    assert calls(run) == list(range(T, 0, -1))
    sampler = run.sampler("ancestral")
    assert type(sampler) is AncestralSampler and sampler.reverse.schedule.num_steps == T
    assert torch.equal(sampler.reverse.schedule.alphas_bar, run.schedule.alphas_bar)


@pytest.mark.parametrize("name", FAST)
def test_other_samplers_take_20_steps(name: str):
    sampler = run_of(T).sampler(name)
    assert sampler.calls == SAMPLERS[name].calls_for(20)
    assert torch.equal(sampler.reverse.schedule.timesteps[1:].flip(0), torch.tensor(kept(run_of(T), 20, "karras")))


@pytest.mark.parametrize(("name", "spacing"), [("ancestral", "even"), *((name, "karras") for name in FAST)])
def test_spacing_of_given_steps(name: str, spacing: str):
    run = run_of(T)
    assert run.sampler(name, steps=7).reverse.schedule.timesteps[1:].flip(0).tolist() == kept(run, 7, spacing)


@pytest.mark.parametrize("spacing", ["even", "log-snr", "karras"])
def test_given_spacing_leaves_the_number_of_steps(spacing: str):
    run = run_of(T)
    run.sample(1, spacing=spacing)
    assert calls(run) == kept(run, 20, spacing)
    run.sample(1, sampler="ancestral", spacing=spacing)
    assert calls(run) == list(range(T, 0, -1))


def test_a_model_of_classes_is_guided_at_the_middle_noise_levels():
    run = run_of(T, conditional=True, label_dropout=0.1)
    run.sample(3)
    assert run.sampler().calls == 16
    times = kept(run, 16, "karras")
    middle = [t for t in times if abs(float(run.schedule.log_snr[t])) <= 2.5]
    assert guided(run, 3) == middle and 3 < len(middle) < 12
    spelled_out = {"sampler": "dpm-solver++sde", "steps": 16, "guidance": 1.8, "label": 4}
    assert torch.equal(run.sample(2, label=4), run.sample(2, **spelled_out))
    guided(run, 2)
    assert [step.t for step in run.trajectory(3)][:-1] == times
    assert guided(run, 3) == middle


@pytest.mark.parametrize(
    ("options", "steps"),
    [
        ({"guidance": 1.0}, 20),
        ({"label": "none"}, 20),
        ({"label": "none", "guidance": 1.0}, 20),
        ({"sampler": "ddim"}, 20),
        ({"sampler": "ancestral"}, T),
    ],
)
def test_no_guidance(options: dict[str, Any], steps: int):
    run = run_of(T, conditional=True, label_dropout=0.1)
    run.sample(3, **options)
    assert len(run.network.times) == steps  # type: ignore[arg-type]
    assert guided(run, 3) == []


def test_a_model_that_always_saw_the_class_is_not_guided():
    run = run_of(T, conditional=True, label_dropout=0.0)
    run.sample(3)
    assert guided(run, 3) == []


def test_guidance_interval_replaces_the_middle():
    run = run_of(T, conditional=True, label_dropout=0.1)
    run.sample(3, guidance=2.0, guidance_interval=(0.0, 1.0))
    assert guided(run, 3) == kept(run, 16, "karras")
    run.sample(3, guidance_interval=(0.0, 1.0))
    assert guided(run, 3) == kept(run, 16, "karras")
    with pytest.raises(ConfigurationError, match="guidance_interval says where guidance applies, and there is none"):
        run.sample(3, guidance_interval=(0.0, 1.0), sampler="ddim")
    run.sample(3, guidance=2.0, sampler="ddim")
    assert guided(run, 3) == [t for t in kept(run, 20, "karras") if abs(float(run.schedule.log_snr[t])) <= 2.5]


@pytest.mark.filterwarnings("ignore::nelbo.diffusion.schedule.ScheduleWarning")  # of the chain of one step
@pytest.mark.parametrize("num_steps", [1, 2, 12, 19])
def test_short_chain_is_used_as_a_whole(num_steps: int):
    run = run_of(num_steps)
    assert run.sample(2).shape == (2, 1, 8, 8)
    assert calls(run) == list(range(num_steps, 0, -1))


def test_more_steps_than_the_chain_has_are_refused():
    with pytest.raises(ScheduleError, match=r"must be a whole number within 1\.\.12, got 20; change steps"):
        run_of(12).sample(1, steps=20)


def test_trajectory_and_draft_follow_the_default():
    run = run_of(T)
    times = [step.t for step in run.trajectory(1)]
    assert times == run.sampler().reverse.schedule.timesteps.tolist()[::-1]
    assert len(times) == 21 and times[0] == T and times[-1] == 0
    assert calls(run) == kept(run, 20, "karras")
    assert [step.t for step in run.trajectory(1, sampler="ancestral")] == list(range(T, -1, -1))
    calls(run)
    assert torch.equal(run.draft(3, seed=4), run.sample(3, seed=4))
    assert calls(run) == 2 * kept(run, 20, "karras")


def test_pictures_show_default_samples_and_a_trajectory_of_algorithm_2(tmp_path: Path):
    run = run_of(200)
    run.folder = tmp_path
    show_run(run, None)
    assert calls(run) == kept(run, 20, "karras") + kept(run, 100, "even")


def test_restoring_from_midway_keeps_the_whole_chain():
    """`noise` enters at the first t with that much noise, in the mean and in the draws."""
    run = run_of(200)
    image = load_data("digits").test.images([0])[0]
    entered = 91
    assert entered not in kept(run, 20, "karras") and entered not in kept(run, 20, "even")
    noise = float(run.schedule.sigma[entered - 1 : entered + 1].mean()) * (run.levels - 1) / 2
    for sampler in ("ancestral", "dpm-solver++sde"):
        run.restore(image, noise=noise, num=1, sampler=sampler)
        found = calls(run)
        assert found.count(entered) == 2 and max(found) == entered


def test_resolved_fills_in_only_what_is_missing():
    def chosen(**options: Any) -> tuple[Any, ...]:
        used = SamplingOptions(**options).resolved(1000)
        return used.sampler, used.steps, used.spacing

    assert chosen() == ("dpm-solver++sde", 20, "karras")
    assert chosen(sampler="ancestral") == ("ancestral", 1000, "even")
    assert chosen(sampler="heun", steps=7) == ("heun", 7, "karras")
    assert chosen(steps=7, spacing="even") == ("dpm-solver++sde", 7, "even")
    plain = SamplingOptions(guidance=2.0, clip=False)
    changed = {
        field.name for field in fields(plain) if getattr(plain, field.name) != getattr(plain.resolved(9), field.name)
    }
    assert changed == {"steps", "spacing"}


def test_help_names_the_defaults():
    assert "; dpm-solver++sde by default" in help_of(SamplingOptions, "sampler")
    few = "by default 20, or 16 for dpm-solver++sde with guidance, but at most T; all T for the sampler ancestral"
    assert few in help_of(SamplingOptions, "steps")
    assert "By default 1.8 for a model of classes" in help_of(SamplingOptions, "guidance")
    assert "a log SNR of -2.5 to 2.5" in help_of(SamplingOptions, "guidance_interval")
    assert "the default of ancestral" in help_of(SamplingOptions, "spacing")
    assert SamplingOptions().sampler in SAMPLER_NAMES
