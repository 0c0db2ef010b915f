import io
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from nelbo.data import FolderDataset, describe, load_data
from nelbo.data.shards import expand
from nelbo.errors import DataError


def png(seed: int) -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(file, "PNG")
    return file.getvalue()


def shard(path: Path, members: dict[str, bytes], mode: str = "w") -> None:
    with tarfile.open(path, mode) as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))


@pytest.fixture
def shards(tmp_path: Path) -> Path:
    for number in range(3):
        members = {"a/0.png": png(2 * number), "a/0.cls": b"10\n", "a/1.PNG": png(2 * number + 1), "a/1.cls": b"2"}
        shard(tmp_path / f"{number:03d}.tar", members | {"a/1.json": b"{}"})
    return tmp_path


def test_folder_range_and_pattern_read_the_same(shards: Path) -> None:
    expected = torch.stack([torch.from_numpy(np.array(Image.open(io.BytesIO(png(seed))))) for seed in range(6)])
    for spec in (shards, shards / "{000..002}.tar", shards / "*.tar"):
        train = load_data(str(spec), held_out=0).train
        assert torch.equal(train.images(range(6)), expected.permute(0, 3, 1, 2))
        assert train.labels is not None and train.labels.tolist() == [1, 0] * 3 and train.class_names == ("2", "10")
    lazy = load_data(str(shards), held_out=0, memory_budget=0).train
    assert isinstance(lazy, FolderDataset) and torch.equal(lazy.images(range(6)), expected.permute(0, 3, 1, 2))
    assert len(load_data(str(shards / "001.tar"), held_out=0).train) == 2


def test_report_lists_rejects(shards: Path) -> None:
    shard(shards / "003.tar", {"bad.jpg": b"text", "empty.png": b""})
    report = describe(str(shards))
    assert (report.kind, report.count, dict(report.ignored)) == ("shards", 6, {".json": 3})
    assert [reject.path.rpartition("/")[2] for reject in report.rejects] == ["003.tar:bad.jpg", "003.tar:empty.png"]


def test_missing_damaged_compressed_and_empty_shards_are_reported(shards: Path) -> None:
    with pytest.raises(DataError, match=r"2 of its 5 shards are missing, the first .*003\.tar"):
        load_data(str(shards / "{000..004}.tar"))
    with pytest.raises(DataError, match="must rise"):
        load_data(str(shards / "{5..1}.tar"))
    (shards / "cut.tar").write_bytes((shards / "000.tar").read_bytes()[:700])
    shard(shards / "packed.tar", {"a.png": png(0)}, "w:gz")
    for name in ("cut.tar", "packed.tar"):
        with pytest.raises(DataError, match=f"{name} is not an uncompressed tar file"):
            load_data(str(shards / name))
    shard(shards / "none.tar", {"a.txt": b"text"})
    with pytest.raises(DataError, match=r"no member of its 1 shard"):
        load_data(str(shards / "none.tar"))


def test_ranges_keep_zeros_and_combine() -> None:
    assert list(map(str, expand("a{08..10}-{0..1}.tar"))) == [
        f"a{number}-{part}.tar" for number in ("08", "09", "10") for part in (0, 1)
    ]
