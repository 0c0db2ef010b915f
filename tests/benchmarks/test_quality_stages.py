"""All stages of the quality benchmark on digits, with seconds of training."""

import json
from importlib.util import find_spec

import numpy as np
import pytest

from benchmarks.quality import __main__ as command
from nelbo.errors import RunError

TINY = "network.base=16,network.multipliers=[1,2],network.blocks=1,schedule.num_steps=30"
MODELS = ["diffusers"] if find_spec("diffusers") else []


@pytest.mark.slow
def test_all_stages_run_once(tmp_path, monkeypatch, capsys):
    pytest.importorskip("torchmetrics")
    given = ["--out", str(tmp_path), "--data", "digits", "--minutes", "0.02", "--num", "40", "--trial", "20"]
    given += [
        "--samplers",
        "ddim:2:even",
        "dpm-solver++:3:karras",
        "--classifier-steps",
        "60",
        "--threads",
        "1",
        "--ancestral",
        "8",
    ]
    given += ["--parameters", "60000", "--recipe", f"tiny:digits,{TINY}", *(["--models", *MODELS] if MODELS else [])]
    assert command.run(command.arguments(given))
    assert command.run(command.arguments([*given, "--final", "--stage", "measure"]))
    names = [*MODELS, "tiny"]
    for name in names:
        place = tmp_path / "0.02-minutes" / name
        assert np.load(place / "samples.npy").shape == (40, 1, 8, 8)
        assert json.loads((place / "train.json").read_text())["steps"] >= 1
        assert np.load(place / "ancestral.npy").shape == (8, 1, 8, 8)
        first, second = (json.loads((place / f"{which}.json").read_text()) for which in ("first", "second"))
        assert first["kernel"] != second["kernel"]
        assert first["nearest"] == second["nearest"]
    table = (tmp_path / "first.md").read_text()
    assert all(table.count(f"| {name} | 0.02 |") == 4 for name in names)
    assert table.count("| other held-out images |") == 3

    for module, work in (("drawing", "drawn"), ("measuring", "figures"), ("worker", "subprocess")):
        monkeypatch.setattr(f"benchmarks.quality.{module}.{work}", None)  # a second command must not work again
    capsys.readouterr()
    assert command.run(command.arguments(given))
    assert capsys.readouterr().out.strip() == table.strip()
    with pytest.raises(RunError, match="threads: 1 stored, 2 given"):
        command.run(command.arguments([*given, "--threads", "2"]))
