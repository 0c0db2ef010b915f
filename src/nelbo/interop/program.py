"""A model as a torch.export program (.pt2), which needs PyTorch alone. It is checked against the model."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from nelbo.diffusion import ReverseProcess
from nelbo.errors import RunError
from nelbo.files import write_json, write_whole
from nelbo.runs import DiffusionRun

PROGRAM, CARD = "model.pt2", "program.json"
TOLERANCE = 1e-4  # of each output's largest entry
CHECKED = (1, 3)  # batch sizes other than the traced one


class Predictor(nn.Module):
    """Map (x_t, t), or (x_t, t, label) for a conditional model, to (xhat_0, noise), whatever the network predicts."""

    def __init__(self, reverse: ReverseProcess) -> None:
        super().__init__()
        assert isinstance(reverse.network, nn.Module)
        self.network = reverse.network
        self.reverse = reverse

    def forward(self, x_t: Tensor, t: Tensor, label: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Predict from `x_t` float32 (B, C, H, W), `t` int64 (B,) in 1..T, `label` int64 (B,), negative for none."""
        prediction = self.reverse.predict(x_t, t, label)
        return prediction.x_0, prediction.noise


def write_program(run: DiffusionRun, folder: Path) -> float:
    """Write model.pt2, and program.json with its inputs, outputs and alphas_bar.

    Returns:
        The largest measured difference between the outputs of program and model, divided by the largest output.

    Raises:
        RunError: the program differs from the model, or the disk is full.
    """
    predictor = Predictor(run.reverse(variance="trained")).eval()
    batch = torch.export.Dim("batch")
    inputs = _inputs(run, 2)
    with torch.no_grad():
        program = torch.export.export(predictor, inputs, dynamic_shapes=tuple({0: batch} for _ in inputs))

    def save(place: Path) -> None:
        with place.open("wb") as file:
            torch.export.save(program, file)

    write_whole(folder / PROGRAM, save)
    difference = max(_difference(predictor, folder / PROGRAM, _inputs(run, size)) for size in CHECKED)
    if not difference <= TOLERANCE:
        (folder / PROGRAM).unlink()
        raise RunError(
            f"the program differs from the model by {difference:.1e} of its outputs, expected at most {TOLERANCE:g}; "
            "this is a bug in torch.export or nelbo: please report it."
        )
    write_json(folder / CARD, _card(run, len(inputs) > 2, difference))
    return difference


def _inputs(run: DiffusionRun, size: int) -> tuple[Tensor, ...]:
    """Draw noise at steps from T to 1, with class labels if the model is conditional."""
    generator = torch.Generator().manual_seed(size)
    device = run.schedule.device
    x_t = torch.randn(size, *run.shape, generator=generator).to(device)
    t = torch.linspace(run.schedule.num_steps, 1, size).long().to(device)
    labels = (torch.zeros(size, dtype=torch.int64, device=device),) if run.recipe.conditional else ()
    return x_t, t, *labels


def _difference(predictor: Predictor, path: Path, inputs: tuple[Tensor, ...]) -> float:
    """Measure the largest difference between the program on disk and the model, relative to the largest output."""
    program = torch.export.load(path).module()
    with torch.no_grad():
        pairs = list(zip(program(*inputs), predictor(*inputs), strict=True))
    return max(float((given - expected).abs().max() / expected.abs().max()) for given, expected in pairs)


def _card(run: DiffusionRun, labelled: bool, difference: float) -> dict[str, Any]:
    """Return what a user of the program needs to know: inputs, outputs, classes and schedule."""
    shape = list(run.shape)
    return {
        "inputs": {
            "x_t": {"dtype": "float32", "shape": ["batch", *shape], "range": "data within [-1, 1]"},
            "t": {"dtype": "int64", "shape": ["batch"], "range": f"1..{run.schedule.num_steps}"},
            **({"label": {"dtype": "int64", "shape": ["batch"], "range": "negative: no class"}} if labelled else {}),
        },
        "outputs": {name: {"dtype": "float32", "shape": ["batch", *shape]} for name in ("x_0", "noise")},
        "classes": list(run.config.data.class_names) if labelled else [],
        "torch": torch.__version__,
        "difference": difference,
        "alphas_bar": run.schedule.alphas_bar.tolist(),
    }
