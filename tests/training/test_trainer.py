"""Algorithm 1 step by step: what one step does and reports, and which errors stop it."""

import math
import threading
import time
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from nelbo.errors import ConfigurationError, NonFiniteError
from nelbo.probability import levels_to_data
from nelbo.randomness import step_generator
from nelbo.recipes.families import build_objective
from nelbo.training import STATE_FILE, TrainerOptions
from tests.training.conftest import assert_same_run, records_of, state_of


def gradients(trainer):
    """Return the gradients of the first step, before they are clipped and applied."""
    seen = {}
    trainer._update = lambda *_: seen.update({n: p.grad.clone() for n, p in trainer.state.network.named_parameters()})
    trainer._step(*next(trainer._batches()))
    return seen


@pytest.mark.parametrize("micro_batch", [1, 3, 8])
def test_micro_batches_keep_the_gradient(trainer, tmp_path, micro_batch):
    plain = {"network": {"dropout": 0.0}}
    whole = gradients(trainer(tmp_path / "whole", **plain))
    parts = gradients(trainer(tmp_path / "parts", **plain, micro_batch=micro_batch))
    for name, gradient in whole.items():
        scale = float(gradient.abs().max())
        assert scale > 0
        torch.testing.assert_close(parts[name], gradient, rtol=1e-3, atol=1e-4 * scale)


@pytest.mark.parametrize("flip", [True, False])
def test_draws_depend_on_seed_and_step(trainer, tiny_data, tiny_recipe, tmp_path, flip):
    """t, noise and flips of step n are functions of (seed, n); the images come from the stream."""
    recipe = replace(tiny_recipe, timesteps="stratified")
    run, seen = trainer(tmp_path, recipe=recipe, steps=3, flip=flip), []
    compute = run.objective.loss

    def spy(reverse, x_0, t, noise, label=None):
        seen.append((x_0, t, noise))
        return compute(reverse, x_0, t, noise, label)

    run.objective.loss = spy
    run.run()
    mirrored = 0
    for step, (x_0, t, noise) in enumerate(seen):
        generator = step_generator(3, step)
        draws = run.objective.draw(8, (1, 8, 8), generator)
        assert torch.equal(t, draws["t"])
        assert torch.equal(noise, draws["noise"])
        flips = torch.rand(8, generator=generator) < 0.5
        for image, plain, flipped in zip(x_0, run.stream.indices(step), flips, strict=True):
            expected = levels_to_data(tiny_data[int(plain)], 17)
            assert torch.equal(image, expected.flip(-1) if flip and flipped else expected)
            mirrored += int(flipped)
    assert 0 < mirrored < 24
    assert not torch.equal(seen[0][2], seen[1][2])


def test_micro_batches_make_one_optimizer_step(trainer, tmp_path):
    state = trainer(tmp_path, steps=3, micro_batch=2).run()
    assert int(state.average.n_averaged) == 3
    assert all(int(slots["step"]) == 3 for slots in state.optimizer.state.values())


def test_checkpointing_is_bitwise(trainer, tmp_path):
    for name, checkpointing in (("kept", False), ("recomputed", True)):
        trainer(tmp_path / name, steps=3, network={"checkpointing": checkpointing}).run()
    assert_same_run(tmp_path / "kept", tmp_path / "recomputed")


def test_learning_rate_warms_up_and_decays(trainer, tmp_path):
    trainer(tmp_path / "constant", steps=6, warmup=4, log_every=1).run()
    rates = [record["learning_rate"] for record in records_of(tmp_path / "constant")]
    assert rates == pytest.approx([0.25e-3, 0.5e-3, 0.75e-3, 1e-3, 1e-3, 1e-3], rel=1e-5)
    trainer(tmp_path / "cosine", steps=6, warmup=2, decay="cosine", log_every=1).run()
    rates = [record["learning_rate"] for record in records_of(tmp_path / "cosine")]
    expected = [min(1, (n + 1) / 2) * 0.5e-3 * (1 + math.cos(math.pi * n / 6)) for n in range(6)]
    assert rates == pytest.approx(expected, rel=1e-5)


def test_gradient_is_clipped_after_its_norm_is_reported(trainer, tmp_path):
    run, norms = trainer(tmp_path, steps=3, clip_gradient=0.01, log_every=1), []

    def measure(optimizer, *_):
        squares = [(p.grad**2).sum() for group in optimizer.param_groups for p in group["params"]]
        norms.append(float(torch.stack(squares).sum().sqrt()))

    run.state.optimizer.register_step_pre_hook(measure)
    run.run()
    assert norms == pytest.approx([0.01] * 3, rel=1e-3)
    assert all(record["gradient_norm"] > 0.02 for record in records_of(tmp_path))


def test_metrics_average_steps_since_the_last_line(trainer, tmp_path):
    for name, every in (("each", 1), ("third", 3)):
        trainer(tmp_path / name, steps=6, log_every=every).run()
    losses = [record["loss"] for record in records_of(tmp_path / "each")]
    averages = [record["loss"] for record in records_of(tmp_path / "third")]
    assert averages == pytest.approx([sum(losses[:3]) / 3, sum(losses[3:]) / 3], rel=1e-4)
    assert all(len(record["loss_by_quarter"]) == 4 for record in records_of(tmp_path / "third"))


def test_previews_do_not_change_training(trainer, tmp_path):
    def look(network, step):
        network.eval()
        torch.manual_seed(step)
        with torch.no_grad():
            network(torch.rand(2, 1, 8, 8), torch.ones(2))
        return {}

    trainer(tmp_path / "watched", steps=5, preview_every=1, on_preview=look).run()
    trainer(tmp_path / "alone", steps=5).run()
    assert_same_run(tmp_path / "watched", tmp_path / "alone")


def test_training_lowers_the_loss(trainer, tmp_path):
    trainer(tmp_path, steps=150, warmup=0, learning_rate=5e-3, log_every=50).run()
    losses = [record["loss"] for record in records_of(tmp_path)]
    assert losses[-1] < 0.8 * losses[0]


def test_data_set_smaller_than_the_batch_works(trainer, tiny_data, tmp_path):
    trainer(tmp_path, dataset=tiny_data.subset(torch.arange(3)), steps=2).run()
    assert state_of(tmp_path)[1] == 2


@pytest.mark.parametrize("save_every", [2, None])
def test_non_finite_loss_stops_training(trainer, tmp_path, save_every):
    run = trainer(tmp_path, steps=9, save_every=save_every)
    inner, drawn = run.objective.loss, []

    def broken(reverse, x_0, t, noise, label=None):
        drawn.append(t)
        loss = inner(reverse, x_0, t, noise, label)
        return torch.where(torch.arange(len(loss)) == 5, math.nan, loss) if len(drawn) == 4 else loss

    broken.unit = inner.unit
    run.objective.loss = broken
    with pytest.raises(NonFiniteError) as caught:
        run.run()
    message = str(caught.value)
    assert f"the loss of 1 of 8 examples, at t = {int(drawn[3][5])}, is not finite at step 4" in message
    assert f"the last good state is in {tmp_path / STATE_FILE}" in message
    tensors, step = state_of(tmp_path)
    assert step == 3  # the last good state, whatever `save_every` is
    assert all(bool(tensor.isfinite().all()) for tensor in tensors.values())
    trainer(tmp_path / "unbroken", steps=9).run()
    trainer(tmp_path, steps=9).run()
    assert_same_run(tmp_path, tmp_path / "unbroken")


def test_non_finite_gradient_is_named(trainer, tmp_path):
    run = trainer(tmp_path, steps=9)
    run.state.network.middle[0].residual.conv1.weight.register_hook(lambda gradient: gradient / 0)
    before = run.state.network.input.weight.clone()
    with pytest.raises(
        NonFiniteError, match=r"the gradient of middle\.0\.residual\.conv1\.weight is not finite at step 1"
    ):
        run.run()
    assert torch.equal(run.state.network.input.weight, before)


@pytest.mark.parametrize("precision", ["bf16", "fp32"])
def test_weights_stay_float32_at_any_precision(trainer, tmp_path, precision):
    """Both cases run in one process: a second trainer may have another precision."""
    run, seen = trainer(tmp_path, steps=2, precision=precision), set()
    run.state.network.middle[0].residual.conv1.register_forward_hook(lambda m, i, out: seen.add(out.dtype))
    state = run.run()
    assert seen == {torch.bfloat16 if precision == "bf16" else torch.float32}
    assert all(p.dtype == torch.float32 and bool(p.isfinite().all()) for p in state.network.parameters())


@pytest.mark.slow
def test_compiled_step_matches_the_eager_step(trainer, tmp_path):
    for name, compiled in (("eager", False), ("compiled", True)):
        trainer(tmp_path / name, steps=3, log_every=1, compile=compiled, network={"dropout": 0.0}).run()
    eager, compiled = ([r["loss"] for r in records_of(tmp_path / name)] for name in ("eager", "compiled"))
    assert compiled == pytest.approx(eager, rel=1e-3)
    assert state_of(tmp_path / "eager")[0].keys() == state_of(tmp_path / "compiled")[0].keys()


def test_compile_none_compiles_only_on_a_gpu(trainer, tmp_path, monkeypatch):
    run = trainer(tmp_path, steps=1, compile=None)
    monkeypatch.setattr("nelbo.training.trainer.compiled", lambda network, device, *, recorded: device.type)
    run.accelerator = SimpleNamespace(device=torch.device("cpu"), num_processes=1)
    assert run._compiled(run.state.network) is run.state.network
    run.accelerator = SimpleNamespace(device=torch.device("cuda"), num_processes=1)
    assert run._compiled(run.state.network) == "cuda"


def test_training_works_outside_the_main_thread(trainer, tmp_path):
    run = trainer(tmp_path, steps=2)
    thread = threading.Thread(target=run.run)
    thread.start()
    thread.join()
    assert state_of(tmp_path)[1] == 2


def test_minutes_count_over_all_sessions(trainer, tmp_path):
    run = trainer(tmp_path, steps=None, minutes=1e-4)
    assert run.fraction == 0
    state = run.run()
    assert state.step >= 1
    assert state.seconds >= 60 * 1e-4
    assert trainer(tmp_path, steps=None, minutes=1e-4).run().step == state.step


def test_previews_take_at_most_a_twentieth(trainer, tmp_path, monkeypatch):
    """With a time budget slow previews are rarer; with a budget in steps none is dropped, so no clock matters."""
    seen = []

    def slowly(network, step):
        seen.append(step)
        time.sleep(0.1)
        return {}

    trainer(tmp_path / "clock", steps=None, minutes=1.25 / 60, on_preview=slowly).run()
    assert len(seen) == 2  # the first, and the one at the end
    seen.clear()
    monkeypatch.setattr("nelbo.training.budget.FEWEST_STEPS", 2)
    trainer(tmp_path / "steps", steps=20, on_preview=slowly).run()
    assert seen == list(range(2, 21, 2))


@pytest.mark.parametrize(("steps", "previews"), [(5, [5]), (50, [20, 40, 50])])
def test_short_training_has_few_previews(trainer, tmp_path, steps: int, previews: list[int]):
    seen = []
    trainer(tmp_path, steps=steps, on_preview=lambda network, step: seen.append(step) or {}).run()
    assert seen == previews


def test_on_save_gets_the_averaged_weights(trainer, tmp_path):
    saved = []
    run = trainer(tmp_path, steps=4, save_every=2, on_save=lambda network, step: saved.append((step, network)))
    run.run()
    assert [step for step, _ in saved] == [2, 4]
    assert saved[0][1] is run.state.average.module


class TestConditional:
    def test_labels_reach_the_network(self, trainer, tiny_data, tiny_recipe, tmp_path):
        dataset = tiny_data.subset(torch.arange(8))  # every batch holds all eight
        recipe = replace(tiny_recipe, conditional=True, label_dropout=0.0)
        run = trainer(tmp_path, recipe=recipe, dataset=dataset, steps=8)
        table = run.state.network.condition.label.weight
        before = table.detach().clone()
        run.run()
        moved = (table != before).any(1)
        assert {label for label, row in enumerate(moved.tolist()) if row} == set(dataset.labels.tolist())

    def test_unlabelled_image_trains_without_a_class(self, trainer, tiny_data, tiny_recipe, tmp_path):
        dataset = tiny_data.subset(torch.arange(8))
        dataset.labels[0] = -1
        recipe = replace(tiny_recipe, conditional=True, label_dropout=0.0)
        run = trainer(tmp_path, recipe=recipe, dataset=dataset, steps=8)
        table = run.state.network.condition.label.weight
        before = table.detach().clone()
        run.run()
        assert bool((table[-1] != before[-1]).any())

    @pytest.mark.parametrize("share", [0.0, 0.25, 1.0])
    def test_labels_are_withheld_at_the_given_rate(self, tiny_recipe, share):
        """The share of withheld labels among 4,000 examples, within 4.5 standard deviations."""
        recipe = replace(tiny_recipe, conditional=True, label_dropout=share)
        objective = build_objective(recipe, 17)
        draws = objective.draw(4000, (1, 2, 2), torch.Generator().manual_seed(0))
        assert abs(int(draws["withheld"].sum()) - 4000 * share) <= 4.5 * math.sqrt(4000 * share * (1 - share))
        seen = []

        def network(x_t, t, label):
            seen.append(label)
            return x_t

        objective(network, torch.zeros(4000, 1, 2, 2, dtype=torch.uint8), torch.full((4000,), 3), draws)
        assert torch.equal(seen[0] == -1, draws["withheld"])
        assert bool((seen[0][~draws["withheld"]] == 3).all())

    def test_unconditional_objective_draws_no_labels(self, tiny_recipe):
        assert "withheld" not in build_objective(tiny_recipe, 17).draw(4, (1, 2, 2), torch.Generator())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"steps": None}, "training needs a budget: give training.steps or training.minutes"),
        ({"steps": -3}, "training.steps must be a finite number above 0, got -3"),
        ({"steps": 0}, "training.steps must be a finite number above 0, got 0"),
        ({"minutes": math.inf}, "training.minutes must be a finite number above 0, got inf"),
        ({"learning_rate": math.nan}, "training.learning_rate must be a finite number above 0, got nan"),
        ({"batch_size": 0}, "training.batch_size must be"),
        ({"warmup": -1}, "training.warmup must be"),
        ({"weight_decay": math.nan}, "training.weight_decay must be"),
        ({"ema": 1.0}, "training.ema must be at least 0 and below 1"),
        ({"workers": -1}, "training.workers must be 0 or more"),
        ({"decay": "linear"}, "training.decay must be constant or cosine, got 'linear'"),
        ({"precision": "fp16"}, "training.precision must be auto, bf16 or fp32"),
    ],
)
def test_invalid_options_are_refused(options, message):
    with pytest.raises(ConfigurationError, match=message):
        TrainerOptions(**{"steps": 1} | options)
