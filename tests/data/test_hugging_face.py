"""Tables of Hugging Face are read as a folder of the same images is, and as streams."""

import io
import shutil
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from nelbo.data import FolderDataset, TrainingStream, describe, load_data, loader
from nelbo.data.hugging_face import _reference
from nelbo.errors import DataError
from tests.data.test_streams import opened, values

datasets = pytest.importorskip("datasets", reason="the extra `datasets` reads tables of Hugging Face")
pytestmark = pytest.mark.filterwarnings("ignore:.*read as a stream:nelbo.data.DataWarning")
NAMES = ["cat", "dog"]


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    before = datasets.config.HF_DATASETS_CACHE
    datasets.config.HF_DATASETS_CACHE = tmp_path_factory.mktemp("cache")
    yield
    datasets.config.HF_DATASETS_CACHE = before


def png(value: int) -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.full((2, 3), value, np.uint8)).save(file, "PNG")
    return file.getvalue()


def table(contents: list[bytes]) -> Any:
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=NAMES)})
    rows = {
        "image": [{"bytes": each, "path": None} for each in contents],
        "label": [i % 2 for i in range(len(contents))],
    }
    return datasets.Dataset.from_dict(rows, features=features)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The same 40 images as a folder, a saved data set and a Parquet file."""
    root = tmp_path_factory.mktemp("saved")
    rows = table([png(i) for i in range(40)])
    rows.save_to_disk(root / "arrow")
    rows.to_parquet(root / "rows.parquet")
    for i in range(40):
        (root / "folder" / NAMES[i % 2]).mkdir(parents=True, exist_ok=True)
        (root / "folder" / NAMES[i % 2] / f"{i:03d}.png").write_bytes(png(i))
    return {name: str(root / name) for name in ("arrow", "rows.parquet", "folder")}


@pytest.mark.parametrize("name", ["arrow", "rows.parquet"])
def test_training_reads_rows_in_an_order_of_the_seed_and_the_step(saved: dict[str, str], name: str) -> None:
    train = load_data(saved[name], memory_budget=0, held_out=4, workers=0).train
    assert isinstance(train, FolderDataset) and train.class_names == ("cat", "dog") and train.class_counts == (18, 18)
    order, rows = TrainingStream(36, 10, seed=3), values(train.images(range(36)))
    for workers in (0, 2):
        for step, images, labels in islice(loader(train, order, 2, workers=workers), 4):
            assert values(images) == [rows[i] for i in order.indices(step)]
            assert torch.equal(labels, torch.tensor(values(images)) % 2)


def test_rows_and_files_of_one_order_are_one_set(saved: dict[str, str], tmp_path: Path) -> None:
    shutil.copytree(saved["folder"], tmp_path / "flat")
    for i in range(40):
        (tmp_path / "flat" / NAMES[i % 2] / f"{i:03d}.png").rename(tmp_path / "flat" / f"{i:03d}.png")
    one, other = load_data(saved["arrow"], seed=5), load_data(str(tmp_path / "flat"), seed=5)
    for part in ("train", "test"):
        rows, files = getattr(one, part), getattr(other, part)
        assert torch.equal(rows.images(range(len(rows))), files.images(range(len(files))))


def test_rejected_rows_are_listed_and_stop_on_demand(tmp_path: Path) -> None:
    table([png(0), b"text", png(2), png(3)]).to_parquet(tmp_path / "rows.parquet")
    spec = str(tmp_path / "rows.parquet")
    report = describe(spec, workers=0)
    assert (report.kind, report.count, dict(report.classes)) == ("datasets", 3, {"cat": 2, "dog": 1})
    assert [reject.path for reject in report.rejects] == ["rows.parquet/train[1]"]
    with pytest.raises(DataError, match=r"1 file cannot be used: rows\.parquet/train\[1\]: it is not a PNG"):
        load_data(spec, on_reject="stop")
    (tmp_path / "rows.parquet").write_bytes(b"text")
    with pytest.raises(DataError, match=r"rows\.parquet cannot be read"):
        load_data(spec)


def test_a_part_named_test_is_held_out(tmp_path: Path) -> None:
    parts = {"train": table([png(1), png(2)]), "test": table([png(3)])}
    datasets.DatasetDict(parts).save_to_disk(tmp_path / "both")
    for spec in (str(tmp_path / "both"), f"stream:{tmp_path / 'both'}"):
        split = load_data(spec, num_images=2 if spec.startswith("stream:") else None)
        assert (values(split.train.images(range(2))), values(split.test.images(range(1)))) == ([1, 2], [3])


def test_images_without_the_types_of_the_package_are_found_by_name(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(
        pa.table({"id": [1, 2, 3], "img": [png(i) for i in range(3)], "label": ["b", "a", "b"]}), tmp_path / "a.parquet"
    )
    train = load_data(str(tmp_path), held_out=0).train
    assert values(train.images(range(3))) == [0, 1, 2] and train.labels is not None
    assert [train.class_names[label] for label in train.labels] == ["b", "a", "b"]
    pq.write_table(pa.table({"id": [1, 2]}), tmp_path / "a.parquet")
    with pytest.raises(DataError, match="has the columns id, and none of them holds images"):
        load_data(str(tmp_path))


@pytest.mark.parametrize("name", ["arrow", "rows.parquet"])
def test_streamed_rows_are_those_of_the_table_with_one_worker(saved: dict[str, str], name: str) -> None:
    split = opened(f"stream:{saved[name]}", 40)
    order = TrainingStream(36, 9, seed=2, window=split.train.window)
    for workers in (0, 2):
        for step, images, labels in islice(loader(split.train, order, 1, workers=workers), 4):
            assert values(images) == (order.indices(step) + 4).tolist()
            assert torch.equal(labels, torch.tensor(values(images)) % 2)


def test_references_name_revisions_and_configurations() -> None:
    assert _reference("hf:owner/name@v1:small") == {"path": "owner/name", "name": "small", "revision": "v1"}
    assert _reference("hf:mnist") == {"path": "mnist", "name": None, "revision": None}
    with pytest.raises(DataError, match="malformed reference 'hf:a/b/c'"):
        load_data("hf:a/b/c")
