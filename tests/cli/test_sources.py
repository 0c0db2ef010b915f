"""`nelbo train` on sources that are not folders: what it says, and that a stopped run resumes bit for bit."""

import io
import signal
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from nelbo.training import Trainer
from tests.cli.conftest import TINY

PIXELS = np.random.default_rng(0).integers(0, 256, (40, 8, 8), dtype=np.uint8)


def png(image: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(image).save(file, "PNG")
    return file.getvalue()


def shards(root: Path) -> str:
    pytest.importorskip("webdataset")
    for number in range(2):
        with tarfile.open(root / f"images-train-{number:06d}.tar", "w") as archive:
            for i in range(20 * number, 20 * number + 20):
                for name, body in ((f"{i:04d}.png", png(PIXELS[i])), (f"{i:04d}.json", b"{}")):
                    info = tarfile.TarInfo(name)
                    info.size = len(body)
                    archive.addfile(info, io.BytesIO(body))
    return f"{root}/images-train-{{000000..000001}}.tar"


def saved(root: Path) -> str:
    datasets = pytest.importorskip("datasets")
    rows = [{"bytes": png(each), "path": None} for each in PIXELS]
    features = datasets.Features({"image": datasets.Image()})
    datasets.Dataset.from_dict({"image": rows}, features=features).save_to_disk(root / "saved")
    return str(root / "saved")


def chunks(root: Path) -> str:
    zarr = pytest.importorskip("zarr")
    array = zarr.create_array(str(root / "x.zarr"), shape=PIXELS.shape, chunks=(4, 8, 8), dtype="uint8")
    array[...] = PIXELS
    return str(root / "x.zarr")


@pytest.mark.parametrize("streamed", [False, True], ids=["in place", "streamed"])
@pytest.mark.parametrize("write", [shards, saved, chunks])
def test_a_stopped_training_resumes_bit_for_bit(nelbo_cli, tmp_path, monkeypatch, write, streamed):
    if streamed and write is chunks:
        pytest.skip("a Zarr array is always read in place")
    spec = f"stream:{write(tmp_path)}" if streamed else write(tmp_path)
    command = ("train", "--data", spec, *TINY, "--no-pictures", "--workers", 0)
    whole = nelbo_cli(*command, "--out", "whole")
    assert whole.code == 0, whole.err
    assert "38 training images, 2 held out" in whole.err
    assert ("shuffled within windows of 4,096 images, not over the whole set" in whole.err) == streamed

    step, done = Trainer._step, []
    with monkeypatch.context() as patch:

        def stopping(trainer, *batch):
            step(trainer, *batch)
            done.append(trainer.state.step)
            if len(done) == 2:
                signal.raise_signal(signal.SIGTERM)

        patch.setattr(Trainer, "_step", stopping)
        nelbo_cli(*command, "--out", "halves")
    assert len(done) == 2
    resumed = nelbo_cli("train", "--out", "halves", "--no-pictures")
    assert resumed.code == 0 and "resuming from step 2" in resumed.err, resumed.err
    weights = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("whole", "halves")]
    assert weights[0] == weights[1]
