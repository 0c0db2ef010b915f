"""A folder with a U-Net of its own gives diffusers our predictions, with and without a class, and needs no nelbo."""

import ast
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch

from nelbo.errors import ConfigurationError
from nelbo.interop import export_model, import_model
from nelbo.interop.unet_module import module_text
from nelbo.networks import UNetOptions
from nelbo.recipes import ScheduleOptions, preset
from nelbo.runs import DiffusionRun
from tests.interop.conftest import OURS, difference, noise

NUM_CLASSES = 3
CLASSES = {"network": replace(OURS, num_classes=NUM_CLASSES), "conditional": True}
LEARNED = {"variance": "learned-range", "loss": "hybrid"}
ENDS_EARLY = ScheduleOptions("log-linear", 100, log_snr_max=4.0, log_snr_min=-13.0)
CARRIED: dict[str, dict[str, Any]] = {
    "grid": {"parameterization": "grid"},
    "grid of low noise": {"parameterization": "grid", "schedule": ScheduleOptions("log-linear", 100)},
    "features": {"network": replace(OURS, fourier=(1, 3), slopes=(0, 2))},
    "classes": CLASSES,
    "learned variance": {"parameterization": "grid", "network": replace(OURS, learned_variance=True), **LEARNED},
    "another time": {"parameterization": "grid", "network": replace(OURS, first_time=0, frequency_shift=0)},
    "a default preset": {
        "parameterization": "grid",
        "schedule": ENDS_EARLY,
        "variance": "fixed-small",
        "network": replace(OURS, num_classes=NUM_CLASSES, fourier=(3, 4, 5, 6, 7), slopes=(0, 2, 4)),
        "conditional": True,
    },
}


@pytest.fixture(autouse=True)
def modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """diffusers copies the code that it runs into a cache; here, into a folder of the test."""
    monkeypatch.setattr("diffusers.utils.dynamic_modules_utils.HF_MODULES_CACHE", str(tmp_path / "modules"))


def loaded(folder: Path) -> Any:
    return diffusers.DDPMPipeline.from_pretrained(folder, trust_remote_code=True)


@pytest.mark.parametrize("recipe", CARRIED.values(), ids=CARRIED)
def test_carried_network_makes_the_same_predictions(
    recipe: dict[str, Any], tmp_path: Path, our_run: Callable[..., DiffusionRun]
) -> None:
    run = our_run(**recipe)
    export_model(run.folder, tmp_path / "out", format="diffusers")
    pipeline = loaded(tmp_path / "out")
    unet, scheduler, reverse = pipeline.unet.eval(), pipeline.scheduler, run.reverse(variance="trained")
    choices = (None, torch.tensor([1, 2]), torch.tensor([-1, 0])) if run.recipe.conditional else (None,)
    total = run.schedule.num_steps
    for t in (1, 2, total // 3, total):
        x_t = run.schedule.noise_stddev[t].float() * noise(2, *run.shape) + run.schedule.signal[t].float() * 0.3
        for label in choices:
            with torch.no_grad():
                expected = reverse.predict(x_t, torch.tensor([t, t]), label)
                output = unet(x_t, torch.tensor(t - 1), label).sample
            assert difference(output[:, :3], expected.noise) <= 1e-5
            x_0 = scheduler.step(output, t - 1, x_t).pred_original_sample  # from float32 tables
            assert difference(x_0, expected.x_0.clamp(-1, 1)) <= 1e-3


def test_pipeline_draws_images_of_a_class(tmp_path: Path, our_run: Callable[..., DiffusionRun]) -> None:
    run = our_run(**CLASSES, parameterization="grid", schedule=ENDS_EARLY)
    notes = export_model(run.folder, tmp_path / "out", format="diffusers").notes
    pipeline = loaded(tmp_path / "out")
    pipeline.set_progress_bar_config(disable=True)
    images, x_t, t = [], noise(2, *run.shape), torch.tensor([9, 9])
    for label in (None, 0, NUM_CLASSES - 1):
        pipeline.unet.label = label
        drawn = pipeline(2, torch.Generator().manual_seed(0), num_inference_steps=4, output_type="pt").images
        assert drawn.shape == (2, *run.shape)
        images.append(drawn)
        with torch.no_grad():
            expected = run.reverse().predict(x_t, t, None if label is None else torch.full((2,), label))
            assert difference(pipeline.unet(x_t, 8).sample, expected.noise) <= 1e-5
    assert not torch.equal(images[0], images[1]) and not torch.equal(images[1], images[2])
    assert any("for class 2, set pipeline.unet.label = 2" in note for note in notes)  # the last of three


def test_other_schedulers_take_the_carried_network(tmp_path: Path, our_run: Callable[..., DiffusionRun]) -> None:
    export_model(our_run(parameterization="grid").folder, tmp_path / "out", format="diffusers")
    pipeline = loaded(tmp_path / "out")
    x_t = noise(1, 3, 16, 16)
    for kind in (diffusers.DDIMScheduler, diffusers.DPMSolverMultistepScheduler):
        scheduler = kind.from_config(pipeline.scheduler.config)
        scheduler.set_timesteps(4)
        for step in scheduler.timesteps:
            with torch.no_grad():
                x_t = scheduler.step(pipeline.unet(x_t, step).sample, step, x_t).prev_sample
        assert bool(x_t.isfinite().all())
    with pytest.raises(ValueError, match=r"the step 1\.5 is not whole"):
        pipeline.unet(x_t, 1.5)


def test_message_and_card_say_how_to_load(tmp_path: Path, our_run: Callable[..., DiffusionRun]) -> None:
    run = our_run(**CARRIED["a default preset"])
    notes = export_model(run.folder, tmp_path / "out", format="diffusers").notes
    assert any(
        "diffusers lacks the grid prediction, Fourier features, slopes, a label for no class" in note
        and "from_pretrained(FOLDER, trust_remote_code=True)" in note
        for note in notes
    )
    card = (tmp_path / "out" / "README.md").read_text()
    assert 'diffusers.DDPMPipeline.from_pretrained("out", trust_remote_code=True)' in card
    assert all(note[1:] in card for note in notes)
    with pytest.raises(ValueError, match="trust_remote_code=True"):
        diffusers.DDPMPipeline.from_pretrained(tmp_path / "out")


def test_plain_predictions_carry_no_code(tmp_path: Path, our_run: Callable[..., DiffusionRun]) -> None:
    for name in ("noise", "data", "velocity"):
        export_model(our_run(name, parameterization=name).folder, tmp_path / f"{name}-out", format="diffusers")
        assert not list((tmp_path / f"{name}-out").rglob("*.py"))
        assert "trust_remote_code" not in (tmp_path / f"{name}-out" / "README.md").read_text()


def test_exported_code_imports_only_torch_and_diffusers() -> None:
    imported = set()
    for node in ast.walk(ast.parse(module_text())):
        if isinstance(node, ast.Import):
            imported |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            imported.add(str(node.module).partition(".")[0])
    assert imported == {"collections", "diffusers", "math", "torch", "typing"}


def test_carried_network_is_not_imported(tmp_path: Path, our_run: Callable[..., DiffusionRun]) -> None:
    export_model(our_run(parameterization="grid").folder, tmp_path / "out", format="diffusers")
    with pytest.raises(ConfigurationError, match="nelbo does not run; import a copy of the run instead"):
        import_model(tmp_path / "out", tmp_path / "back")


@pytest.mark.parametrize("name", ["digits", "fashion-mnist", "images"])
def test_default_presets_are_exported(name: str, tmp_path: Path, our_run: Callable[..., DiffusionRun]) -> None:
    recipe: Any = preset(name)
    small = UNetOptions(base=8, multipliers=(1, 2), blocks=1, attention=(), groups=4)
    network = replace(
        small, channels=recipe.network.channels, fourier=recipe.network.fourier, slopes=recipe.network.slopes
    )
    settings = {"schedule": recipe.schedule, "parameterization": recipe.parameterization, "variance": recipe.variance}
    run = our_run(shape=(network.channels, 8, 8), network=network, decoder=recipe.decoder, **settings)
    export_model(run.folder, tmp_path / "out", format="diffusers")
    assert loaded(tmp_path / "out").scheduler.config.num_train_timesteps == recipe.schedule.num_steps
