"""Which samplers the benchmark of image quality tries for a model."""

from types import SimpleNamespace
from typing import Any

import pytest

from benchmarks.quality import drawing
from benchmarks.quality.drawing import Drawing, tried
from benchmarks.samplers import Cell
from nelbo.errors import ConfigurationError

PLAIN, GUIDED, SLOW = Cell("ddim", 20), Cell("ddim", 16, guidance=1.8), Cell("ancestral", 20)
DISTANCES = {PLAIN: 0.3, GUIDED: 0.1, SLOW: 0.2}


@pytest.fixture
def distances(monkeypatch: pytest.MonkeyPatch, tmp_path) -> Any:
    """Return a function that tries candidates for a model, with the distances above instead of images."""
    monkeypatch.setattr(drawing, "drawn", lambda run, cell, num, place, precision: (cell, 0.5))
    monkeypatch.setattr(drawing, "features_of", lambda images, features: images)
    monkeypatch.setattr(drawing, "_distance", lambda images, real, features: DISTANCES[images])
    comparison = SimpleNamespace(classifier=lambda name: SimpleNamespace(features=lambda: None), other=None)
    job = SimpleNamespace(place=tmp_path, precision=None)

    def distances_of(candidates: list[Cell], conditional: bool) -> list[float]:
        run = SimpleNamespace(recipe=SimpleNamespace(conditional=conditional))
        found = tried(run, job, Drawing(8, 4, candidates, 0), comparison)  # type: ignore[arg-type]
        return [trial["kernel"] for trial in found]

    return distances_of


def test_a_model_of_classes_is_tried_with_guidance(distances):
    assert distances([PLAIN, GUIDED, SLOW], conditional=True) == [0.3, 0.1, 0.2]


def test_a_model_without_classes_is_tried_without_guidance(distances):
    assert distances([PLAIN, GUIDED, SLOW], conditional=False) == [0.3, 0.2]
    with pytest.raises(ConfigurationError, match="does not know classes; add a sampler without guidance"):
        distances([GUIDED], conditional=False)


def test_a_single_candidate_needs_no_trial(distances):
    assert distances([GUIDED], conditional=True) == [0.0]
    assert distances([GUIDED, SLOW], conditional=False) == [0.0]
