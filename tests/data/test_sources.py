"""From a spec to a source: the order of the kinds, and what a new kind needs."""

from pathlib import Path

import numpy as np
import pytest
import torch

from nelbo.data import ArrayDataset, describe, load_data, load_for_model
from nelbo.data import sources as sources_module
from nelbo.data.datasets import Loaded
from nelbo.errors import DataError


def test_built_in_name_goes_before_a_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, save) -> None:
    save("digits/a.png")
    monkeypatch.chdir(tmp_path)
    assert describe("digits").kind == "digits"
    assert describe("./digits").kind == "folder"


def test_one_folder_is_one_kind(tmp_path: Path, save) -> None:
    """IDX files go before images, and images before shards."""
    (tmp_path / "x.tar").touch()
    save("a.png")
    assert describe(str(tmp_path)).kind == "folder"
    content = bytes([0, 0, 8, 3]) + np.array([2, 1, 1], ">u4").tobytes() + b"\x01\x02"
    (tmp_path / "train-images-idx3-ubyte").write_bytes(content)
    assert describe(str(tmp_path)).kind == "idx"


def test_empty_spec_never_reads_the_working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, save) -> None:
    save("a.png")
    (tmp_path / "x.tar").touch()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match="'' is neither a built-in data set nor an existing path"):
        load_data("")


def test_new_kind_is_one_entry(monkeypatch: pytest.MonkeyPatch) -> None:
    def constant(spec: str, seed: int, range: object) -> Loaded | None:
        if not spec.startswith("constant:"):
            return None
        value = int(spec.removeprefix("constant:"))
        return Loaded("constant", ArrayDataset(torch.full((20, 1, 4, 4), value, dtype=torch.uint8), name="constant"))

    monkeypatch.setattr(sources_module, "KINDS", (*sources_module.KINDS, constant))
    split = load_data("constant:7", size=2, mode="RGB")
    assert (len(split.train), len(split.test), split.train.shape) == (19, 1, (3, 2, 2))
    assert int(split.train[0].unique()) == 7
    assert describe("constant:7").kind == "constant"
    assert len(load_for_model("constant:7", (1, 4, 4)).images) == 20
