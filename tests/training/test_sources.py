"""A run on a source that is not in memory resumes bit for bit."""

import io
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from nelbo.data import ImageDataset, load_data
from nelbo.data.streams import load_stream
from tests.training.conftest import assert_same_run

pytestmark = pytest.mark.filterwarnings("ignore:.*read as a stream:nelbo.data.DataWarning")
NUM, WINDOW = 30, 7


def encoded() -> list[bytes]:
    generator, found = np.random.default_rng(0), []
    for _ in range(NUM):
        file = io.BytesIO()
        Image.fromarray(generator.integers(0, 256, (8, 8), dtype=np.uint8)).save(file, "PNG")
        found.append(file.getvalue())
    return found


def shards(root: Path) -> str:
    with tarfile.open(root / "a.tar", "w") as archive:
        for i, content in enumerate(encoded()):
            info = tarfile.TarInfo(f"{i:03d}.png")
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return str(root / "a.tar")


def parquet(root: Path) -> str:
    datasets = pytest.importorskip("datasets")
    rows = [{"bytes": each, "path": None} for each in encoded()]
    features = datasets.Features({"image": datasets.Image()})
    datasets.Dataset.from_dict({"image": rows}, features=features).to_parquet(root / "a.parquet")
    return str(root / "a.parquet")


def training_part(source: str, root: Path) -> ImageDataset:
    spec = parquet(root) if "parquet" in source else shards(root)
    if not source.startswith("stream"):
        return load_data(spec, memory_budget=0, workers=0).train
    options = (None, None, None, "skip", NUM, 0, None, None, "auto", WINDOW)
    return load_stream(f"stream:{spec}", *options).train


@pytest.mark.parametrize("source", ["shards", "stream of shards", "stream of parquet"])
@pytest.mark.parametrize("cut", [2, 6])
def test_resume_is_bitwise(trainer, tmp_path, source, cut):
    common = {"steps": 9, "log_every": 4, "workers": 0}
    trainer(tmp_path / "unbroken", dataset=training_part(source, tmp_path), **common).run()
    broken = trainer(tmp_path / "broken", dataset=training_part(source, tmp_path), **common, stop_at=cut)
    broken.run()
    assert (broken.state.step, broken.stopped_by) == (cut, "the test")
    trainer(tmp_path / "broken", dataset=training_part(source, tmp_path), **common).run()
    assert_same_run(tmp_path / "unbroken", tmp_path / "broken")
