"""Trainers of the tiny recipe, and the comparison of two runs bit for bit."""

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from nelbo.data import ImageDataset
from nelbo.files import read_tensors
from nelbo.recipes import Recipe
from nelbo.recipes.assembly import build_network
from nelbo.recipes.families import build_objective, fit_to_data
from nelbo.training import METRICS_FILE, STATE_FILE, MetricsLog, Trainer

CLOCK = {"minutes", "images_per_second"}
PARTS = {"network", "average", "objective", "window", "optimizer"}


@pytest.fixture
def trainer(tiny_data: ImageDataset, tiny_recipe: Recipe) -> Callable[..., Trainer]:
    """`trainer(folder, steps=4, ...)` builds a trainer; `stop_at` is the step at which it stops, as by a signal."""

    def build(
        folder: Path,
        *,
        dataset: ImageDataset = tiny_data,
        recipe: Recipe = tiny_recipe,
        network: dict[str, Any] | None = None,
        stop_at: int | None = None,
        on_preview: Any = None,
        on_save: Any = None,
        **options: Any,
    ) -> Trainer:
        recipe = replace(
            recipe,
            network=replace(recipe.network, **(network or {})),
            training=replace(recipe.training, **options),
        )
        recipe = fit_to_data(recipe, dataset.shape, dataset.class_counts)
        torch.manual_seed(0)
        weights = build_network(recipe).to(memory_format=torch.channels_last)
        folder.mkdir(parents=True, exist_ok=True)

        def on_progress(progress: Any) -> None:
            if progress.step == stop_at:
                built.stopped_by = "the test"

        objective = build_objective(recipe, dataset.levels)
        built = Trainer(
            weights, objective, dataset, recipe.training, folder, on_preview, on_save, on_progress=on_progress
        )
        return built

    return build


def records_of(folder: Path) -> list[dict[str, Any]]:
    """Return the metrics without the fields that depend on the clock."""
    records = MetricsLog(folder / METRICS_FILE).records()
    return [{key: value for key, value in record.items() if key not in CLOCK} for record in records]


def state_of(folder: Path) -> tuple[dict[str, Tensor], int]:
    tensors, metadata = read_tensors(folder / STATE_FILE)
    return tensors, metadata["step"]


def assert_same_run(one: Path, other: Path, parts: set[str] = PARTS) -> None:
    """Assert that weights, moving average, optimizer, objective, window, step and metrics are equal bit for bit."""
    (tensors, step), (others, other_step) = state_of(one), state_of(other)
    assert {name.split("/")[0].split(".")[0] for name in tensors} == parts
    assert tensors.keys() == others.keys()
    assert [name for name in tensors if not torch.equal(tensors[name], others[name])] == []
    assert (step, records_of(one)) == (other_step, records_of(other))


def in_a_fork(work: Callable[[], object]) -> int:
    """Run `work` in a forked process and return its process id; it exits with 0 if `work` raised nothing."""
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        work()
        code = 0
    except BaseException as error:
        os.write(2, f"in the child: {error!r}\n".encode())
    finally:
        os._exit(code)


def exit_code(child: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
