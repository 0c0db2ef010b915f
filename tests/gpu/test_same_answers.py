"""A GPU gives the same results as the CPU: networks, bounds, samples, training, files (`make test-gpu`)."""

from dataclasses import replace

import pytest
import torch
from accelerate.state import AcceleratorState
from torch import Tensor

import nelbo
from nelbo.files import read_tensors
from nelbo.networks import MLP, DiT, DiTOptions, InBFloat16, MLPOptions, UNet, UNetOptions
from nelbo.recipes.assembly import build_network
from nelbo.recipes.families import build_objective, fit_to_data
from nelbo.runs import DiffusionRun, load_as
from nelbo.samplers import SAMPLERS
from nelbo.studies import features_for
from nelbo.training import METRICS_FILE, STATE_FILE, MetricsLog, Trainer

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU"),
]

RICH = UNetOptions(
    base=32, multipliers=(1, 2), blocks=1, attention=(1,), groups=8, dropout=0.0, fourier=(3,), slopes=(0,)
)

TRANSFORMER = DiTOptions(width=32, depth=2, heads=4, fourier=(3,), slopes=(0,))


@pytest.fixture(autouse=True)
def plain_float32(monkeypatch):
    """Use float32 convolutions as on the CPU, not TF32, which is PyTorch's default on a GPU."""
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)


@pytest.fixture(scope="module")
def runs() -> dict[str, DiffusionRun]:
    return {device: load_as(DiffusionRun, "fashion-mnist", device=device) for device in ("cpu", "cuda")}


@pytest.fixture(scope="module")
def garments(runs) -> Tensor:
    """Sixteen samples to use as images."""
    return runs["cuda"].sample(16, sampler="dpm-solver++", steps=20, spacing="karras")


def built(kind: str, device: str) -> tuple[torch.nn.Module, list[Tensor]]:
    torch.manual_seed(0)
    networks = {"unet": lambda: UNet(RICH), "dit": lambda: DiT(TRANSFORMER), "mlp": lambda: MLP(MLPOptions())}
    network = networks[kind]()
    for parameter in network.parameters():  # the last layers of a new network are almost zero
        torch.nn.init.normal_(parameter, 0.05 if parameter.ndim == 1 else 0.0, 0.05)
    x_t = torch.randn(4, 2, 1, 1) if kind == "mlp" else torch.randn(4, 3, 16, 16)
    t = torch.tensor([1, 10, 500, 1000])
    if kind != "mlp":
        network, x_t = network.to(memory_format=torch.channels_last), x_t.to(memory_format=torch.channels_last)
    return network.to(device), [x_t.to(device), t.to(device)]


@pytest.mark.parametrize("kind", ["unet", "dit", "mlp"])
def test_networks_and_gradients_agree(kind):
    outcomes = []
    for device in ("cpu", "cuda"):
        network, inputs = built(kind, device)
        output = network(*inputs)
        output.square().mean().backward()
        outcomes.append([output, *(p.grad for p in network.parameters() if p.grad is not None)])
    for here, there in zip(*outcomes, strict=True):
        scale = float(here.detach().abs().max())
        assert float((here - there.cpu()).detach().abs().max()) <= 1e-4 * scale + 1e-7


def test_bfloat16_is_near_float32():
    network, inputs = built("unet", "cuda")
    with torch.no_grad():
        exact, rounded = network.eval()(*inputs), InBFloat16(network)(*inputs)
    assert float((exact - rounded).square().mean().sqrt()) < 0.03 * float(exact.std())


def test_bounds_agree(runs, garments):
    here, there = (runs[device].bound(garments, steps_per_image=8) for device in ("cpu", "cuda"))
    assert torch.allclose(here.scores, there.scores, atol=2e-4, rtol=0)
    assert here.decoder == pytest.approx(there.decoder, abs=2e-4)


def test_ode_likelihoods_agree(runs, garments):
    here, there = (runs[device].likelihood(garments[:1], tolerance=0.2) for device in ("cpu", "cuda"))
    assert torch.allclose(here.scores, there.scores, atol=2e-3, rtol=0)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_samples_agree(runs, sampler):
    here, there = (
        runs[device].sample(8, sampler=sampler, steps=12, spacing="karras", precision="fp32") for device in runs
    )
    apart = (here.int() - there.int()).abs()
    assert float((apart > 1).float().mean()) < 2e-3


def test_restored_images_agree(runs, garments):
    mask = torch.zeros(28, 28, dtype=torch.bool)
    mask[8:20, 8:20] = True
    here, there = (runs[device].restore(garments[0], mask=mask, num=2, steps=12, precision="fp32") for device in runs)
    assert torch.equal(there.draws[:, 0, ~mask], garments[0, 0, ~mask].expand(2, -1))
    assert float(((here.draws.int() - there.draws.int()).abs() > 1).float().mean()) < 5e-3


def test_features_agree(runs, garments):
    data = runs["cpu"].config.data
    here, there = (features_for(data, device=device).fn(garments) for device in ("cpu", "cuda"))
    assert torch.allclose(here.cpu(), there.cpu(), atol=1e-3)


@pytest.mark.parametrize(("writer", "reader"), [("cpu", "cuda"), ("cuda", "cpu"), ("cuda", "cuda")])
def test_files_decode_exactly_on_either_device(runs, garments, writer, reader):
    files = runs[writer].codec().encode(list(garments), effort=1, verify=False)
    decoded = runs[reader].codec().decode(files)
    for image, found in zip(garments, decoded, strict=True):
        assert torch.equal(found.image.cpu(), image)


def trained(folder, recipe, data, device, monkeypatch, steps: int = 6, stop_at: int | None = None, **options) -> None:
    AcceleratorState._reset_state(
        reset_partial_state=True
    )  # otherwise accelerate keeps the first device of this process
    with monkeypatch.context() as patch:
        if device == "cpu":
            patch.setattr(torch.cuda, "is_available", lambda: False)
        recipe = replace(
            recipe,
            network=replace(recipe.network, dropout=0.0),
            training=replace(recipe.training, steps=steps, **options),
        )
        recipe = fit_to_data(recipe, data.shape, data.class_counts)
        torch.manual_seed(0)
        network = build_network(recipe).to(memory_format=torch.channels_last)
        folder.mkdir(exist_ok=True)

        def on_progress(progress):
            if progress.step == stop_at:
                trainer.stopped_by = "the test"

        objective = build_objective(recipe, data.levels)
        trainer = Trainer(network, objective, data, recipe.training, folder, on_progress=on_progress)
        assert trainer.accelerator.device.type == device
        trainer.run()
    AcceleratorState._reset_state(reset_partial_state=True)


def outcome(folder) -> tuple[dict[str, Tensor], list[float]]:
    losses = [record["loss"] for record in MetricsLog(folder / METRICS_FILE).records() if "loss" in record]
    return read_tensors(folder / STATE_FILE)[0], losses


def test_training_agrees(tmp_path, tiny_recipe, tiny_data, monkeypatch):
    for device in ("cpu", "cuda"):
        trained(tmp_path / device, tiny_recipe, tiny_data, device, monkeypatch)
    (here, losses), (there, their_losses) = (outcome(tmp_path / device) for device in ("cpu", "cuda"))
    assert len(losses) == 3
    assert losses == pytest.approx(their_losses, rel=1e-3)
    for name, tensor in here.items():
        if name.startswith("average/"):
            assert torch.allclose(tensor, there[name], atol=2e-4), name


@pytest.mark.parametrize("micro_batch", [None, 4])
def test_compiled_training_agrees(tmp_path, tiny_recipe, tiny_data, monkeypatch, micro_batch):
    for name, options in (("eager", {}), ("compiled", {"compile": True, "micro_batch": micro_batch})):
        trained(tmp_path / name, tiny_recipe, tiny_data, "cuda", monkeypatch, **options)
    (_, losses), (_, their_losses) = (outcome(tmp_path / name) for name in ("eager", "compiled"))
    assert losses == pytest.approx(their_losses, rel=1e-3)


def test_training_resumes(tmp_path, tiny_recipe, tiny_data, monkeypatch):
    trained(tmp_path / "whole", tiny_recipe, tiny_data, "cuda", monkeypatch)
    trained(tmp_path / "parts", tiny_recipe, tiny_data, "cuda", monkeypatch, stop_at=3)
    trained(tmp_path / "parts", tiny_recipe, tiny_data, "cuda", monkeypatch)
    (whole, losses), (parts, their_losses) = (outcome(tmp_path / name) for name in ("whole", "parts"))
    assert losses == pytest.approx(their_losses, rel=1e-4)  # a GPU may sum in another order
    for name, tensor in whole.items():
        assert torch.allclose(tensor.double(), parts[name].double(), atol=1e-4), name


def test_whole_runs_score_alike(tmp_path):
    small = {"network.base": 8, "network.groups": 4, "network.blocks": 1, "training.minutes": None, "training.steps": 4}
    nelbo.train("digits", tmp_path / "digits", preset="digits", overrides=small | {"schedule.num_steps": 20})
    nelbo.train(
        "digits", tmp_path / "vae", preset="vae-digits", overrides={"training.minutes": None, "training.steps": 4}
    )
    for name in ("digits", "vae"):
        scores = [
            nelbo.load(tmp_path / name, device=device).score(torch.full((2, 1, 8, 8), 5, dtype=torch.uint8))
            for device in ("cpu", "cuda")
        ]
        assert torch.allclose(*scores, atol=1e-3)
