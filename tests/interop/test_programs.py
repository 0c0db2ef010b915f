"""A torch.export program runs without nelbo and makes the model's predictions, for any batch size."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from nelbo.errors import RunError
from nelbo.interop import export_model
from nelbo.networks import MLPOptions, UNetOptions
from nelbo.runs import DiffusionRun
from tests.interop.conftest import difference, noise

CONDITIONAL = UNetOptions(base=8, multipliers=(1, 2), blocks=1, attention=(), groups=4, num_classes=3)
RECIPES: dict[str, dict[str, Any]] = {
    "attention": {},
    "grid with Fourier features": {
        "parameterization": "grid",
        "network": UNetOptions(base=8, multipliers=(1,), blocks=1, attention=(), groups=4, fourier=(1, 2)),
    },
    "learned variance": {
        "variance": "learned-range",
        "network": UNetOptions(base=8, multipliers=(1,), blocks=1, attention=(), groups=4, learned_variance=True),
    },
    "conditional": {"network": CONDITIONAL, "conditional": True},
}


def test_mlp_program_makes_the_same_predictions(tmp_path: Path, our_run: Callable[..., DiffusionRun]) -> None:
    agrees(our_run(network=MLPOptions(dims=3 * 16 * 16, width=16, depth=1)), tmp_path / "out")


@pytest.mark.slow
@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
def test_unet_program_makes_the_same_predictions(
    recipe: dict[str, Any], tmp_path: Path, our_run: Callable[..., DiffusionRun]
) -> None:
    agrees(our_run(**recipe), tmp_path / "out")


def agrees(run: DiffusionRun, out: Path) -> None:
    """Check that the program of a run makes its predictions, also at batch sizes other than the traced one."""
    export_model(run.folder, out, format="torch")
    program = torch.export.load(out / "model.pt2").module()
    card = json.loads((out / "program.json").read_text())
    for size in (1, 2, 5):
        x_t, t = noise(size, *run.shape), torch.linspace(1, 1000, size).long()
        labels = (torch.arange(size) % 4 - 1,) if "label" in card["inputs"] else ()
        with torch.no_grad():
            expected = run.reverse(variance="trained").predict(x_t, t, *labels)
            x_0, eps = program(x_t, t, *labels)
        assert difference(eps, expected.noise) <= 1e-5
        assert difference(x_0, expected.x_0) <= 1e-5 * float(expected.x_0.abs().max())
    assert card["alphas_bar"] == run.schedule.alphas_bar.tolist()
    assert card["difference"] <= 1e-5


def test_program_that_differs_is_deleted(
    tmp_path: Path, our_run: Callable[..., DiffusionRun], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = our_run(network=MLPOptions(dims=3 * 16 * 16, width=16, depth=1))
    monkeypatch.setattr("nelbo.interop.program._difference", lambda *_: float("nan"))
    with pytest.raises(RunError, match="the program differs from the model by nan"):
        export_model(run.folder, tmp_path / "out", format="torch")
    assert [path for path in tmp_path.iterdir() if "out" in path.name] == []
