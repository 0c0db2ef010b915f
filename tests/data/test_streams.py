"""A stream is trained on in an order that is a function of the seed and the step, with two windows in memory."""

import io
import re
import sys
import tarfile
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from nelbo.data import (
    ArrayDataset,
    DataWarning,
    Example,
    Split,
    StreamDataset,
    TrainingStream,
    describe,
    load_data,
    loader,
)
from nelbo.data.streams import first_images, load_stream
from nelbo.errors import ConfigurationError, DataError

pytest.importorskip("webdataset", reason="the extra `webdataset` reads streams of shards")
pytestmark = pytest.mark.filterwarnings("ignore:.*read as a stream:nelbo.data.DataWarning")
WINDOW = 8


def png(value: int, shape: tuple[int, ...] = (2, 3)) -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.full(shape, value, np.uint8)).save(file, "PNG")
    return file.getvalue()


def write_shards(root: Path, contents: list[bytes], each: int = 7) -> str:
    for start in range(0, len(contents), each):
        with tarfile.open(root / f"{start:03d}.tar", "w") as archive:
            for i, content in enumerate(contents[start : start + each], start):
                for name, body in ((f"{i:03d}.png", content), (f"{i:03d}.cls", b"%d" % (i % 2))):
                    info = tarfile.TarInfo(name)
                    info.size = len(body)
                    archive.addfile(info, io.BytesIO(body))
    return f"stream:{root}"


def opened(spec: str, num_images: int | None = None, held_out: float | None = 4, **others: Any) -> Split:
    options: dict[str, Any] = {"size": None, "mode": None, "on_reject": "skip", "workers": 0, "progress": None}
    options |= {"largest": None, "range": "auto", "window": WINDOW}
    return load_stream(spec, held_out=held_out, num_images=num_images, **options | others)


def values(images: torch.Tensor) -> list[int]:
    return images[:, 0, 0, 0].tolist()


class Counted:
    """Examples 0, 1, 2, ... that count how many were read, and how often the source was opened."""

    def __init__(self, num: int) -> None:
        self.name, self.num, self.reads, self.opened = "counted", num, 0, 0

    def read(self, start: int) -> Iterator[Example]:
        self.opened += 1
        for i in range(start, self.num):
            self.reads += 1
            yield Example(str(i), png(i))


def counted_set(num: int, window: int = WINDOW) -> tuple[Counted, StreamDataset]:
    stream = Counted(num)
    sample = ArrayDataset(torch.arange(window, dtype=torch.uint8).view(-1, 1, 1, 1).repeat(1, 1, 2, 3))
    return stream, StreamDataset(stream, sample, 0, num, fitted=False, window=window)


@given(st.integers(1, 60), st.integers(1, 25), st.integers(1, 30), st.integers(0, 4))
def test_each_epoch_has_every_image_once_and_stays_in_its_window(num: int, window: int, batch: int, seed: int) -> None:
    stream = TrainingStream(num, batch, seed, window=window)
    order = torch.cat([stream.indices(step) for step in range(-(-3 * num // batch))])[: 3 * num].view(3, num)
    for epoch in order:
        assert epoch.sort().values.equal(torch.arange(num))
        assert (epoch // window).equal(torch.arange(num) // window)
    step = 3 * num // batch // 2
    assert torch.equal(stream.indices(step), TrainingStream(num, batch, seed, window=window).indices(step))


def test_windows_are_shuffled_and_each_in_its_own_way() -> None:
    stream = TrainingStream(400, 100, 0, window=100)
    orders = [(stream.indices(step) % 100).tolist() for step in range(8)]  # four windows of two epochs
    assert all(sorted(order) == list(range(100)) for order in orders)
    assert len({tuple(order) for order in [*orders, list(range(100))]}) == 9


def test_an_epoch_reads_the_source_once() -> None:
    stream, images = counted_set(50)
    order = TrainingStream(50, 6, seed=1, window=WINDOW)
    found = [values(batch) for _, batch, _ in islice(loader(images, order, workers=0), 24)]
    assert found == [order.indices(step).tolist() for step in range(24)]
    assert (stream.opened, stream.reads) == (
        3,
        148,
    )  # 2 epochs, and 44 images in 6 windows


def test_resuming_reads_the_same_batches() -> None:
    order = TrainingStream(50, 6, seed=1, window=WINDOW)
    whole = list(islice(loader(counted_set(50)[1], order, workers=0), 20))
    for start in (1, 7, 9, 19):
        resumed = islice(loader(counted_set(50)[1], order, start, workers=0), 20 - start)
        for one, other in zip(whole[start:], resumed, strict=True):
            assert one[0] == other[0] and torch.equal(one[1], other[1])


def test_two_windows_of_encoded_images_are_held() -> None:
    for num in (40, 400):
        stream, images = counted_set(min(num, 256))
        for _ in islice(loader(images, TrainingStream(len(images), 6, 1, window=WINDOW), workers=0), 60):
            assert sum(map(len, images._windows.values())) <= 2 * WINDOW
        assert stream.opened >= 1


def test_any_order_of_images_is_right() -> None:
    images = counted_set(50)[1]
    for indices in ([49, 0, 25], [0], [30, 31, 2], [7, 8]):
        assert values(images.images(indices)) == indices
        assert values(images.subset(torch.tensor(indices)).images(range(len(indices)))) == indices


def test_shards_are_read_in_their_order_with_classes_and_held_out_images(tmp_path: Path) -> None:
    split = opened(write_shards(tmp_path, [png(i) for i in range(40)]), 40)
    assert (len(split.train), values(split.test.images(range(4)))) == (36, [0, 1, 2, 3])
    assert split.train.class_names == ("0", "1") and split.train.class_counts == (18, 18)
    order = TrainingStream(36, 9, seed=2, window=WINDOW)
    for workers in (0, 2):
        for step, images, labels in islice(loader(split.train, order, workers=workers), 5):
            assert values(images) == (order.indices(step) + 4).tolist()
            assert torch.equal(labels, torch.tensor(values(images)) % 2)


def test_the_number_of_images_is_counted_once_if_it_is_not_given(tmp_path: Path) -> None:
    spec = write_shards(tmp_path, [png(i) for i in range(22)])
    with pytest.warns(DataWarning, match=r"does not state its number of images; set num_images=22 the next time"):
        assert len(opened(spec).train) == 18
    too_many = opened(spec, 30).train
    with pytest.raises(DataError, match=r"ends after 22 images, but 30 were expected; set num_images=22"):
        too_many.images([16])
    with pytest.raises(DataError, match=r"has at most 28 images, but 30 were expected; set num_images to their"):
        too_many.images([25])


def test_an_image_that_cannot_be_used_is_replaced_by_the_next_one(tmp_path: Path) -> None:
    contents = [png(i) for i in range(40)]
    contents[20], contents[21], contents[30] = b"text", png(1, (5, 5)), b""
    spec = write_shards(tmp_path, contents)
    images = opened(spec, 40).train
    with pytest.warns(DataWarning, match=r"020\.png cannot be used: .*\. The next image takes its place; this is the"):
        assert values(images.images([16, 17, 26])) == [22, 22, 31]
    assert images.condition([16, 17, 26]).tolist() == [0, 0, 1]  # the classes of the images that took their places
    strict = opened(spec, 40, on_reject="stop").train
    with pytest.raises(DataError, match=r"020\.png cannot be used: it is not a PNG.*on_reject='skip'"):
        strict.images([16])


def test_rejects_among_the_first_images_are_listed(tmp_path: Path) -> None:
    contents = [png(i) for i in range(20)]
    contents[6] = b"text"
    split = opened(write_shards(tmp_path, contents), 20)
    assert [reject.path.rpartition(":")[2] for reject in split.train.rejects] == ["006.png"]
    assert values(split.train.at_random().images(range(7))) == [4, 5, 7, 8, 9, 10, 11]


def test_images_are_resized_and_deep_ones_mapped_as_in_a_folder(tmp_path: Path) -> None:
    contents = [png(i, (9, 12, 3)) for i in range(30)]
    split = opened(write_shards(tmp_path, contents), 30, size=(4, 4), mode="L")
    assert split.train.shape == (1, 4, 4)
    assert values(split.train.images([0, 20])) == [4, 24]


def test_damage_and_a_missing_shard_are_reported(tmp_path: Path) -> None:
    spec = write_shards(tmp_path, [png(i) for i in range(40)])
    images = opened(spec, 40).train
    shard = tmp_path / "028.tar"
    shard.write_bytes(shard.read_bytes()[:700])
    with pytest.raises(DataError, match=r"028\.tar cannot be read: .*copy a damaged shard again"):
        images.images([30])
    with pytest.raises(DataError, match=r"no-such\.tar cannot be read: No such file"):
        opened(f"stream:{tmp_path}/no-such.tar", 5)


def test_shards_without_images_are_refused(tmp_path: Path) -> None:
    tarfile.open(tmp_path / "none.tar", "w").close()
    (tmp_path / "empty.tar").write_bytes(b"")
    with pytest.raises(DataError, match="none has no images"):
        opened(f"stream:{tmp_path}/none.tar")
    with pytest.raises(DataError, match=r"empty\.tar cannot be read: empty file"):
        opened(f"stream:{tmp_path}/empty.tar")


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda whole: whole[:3072] + b"\xff" * 512 + whole[3584:], "bad checksum, .* should begin at byte 3072"),
        (lambda whole: whole[:3072], "empty header, where a tar member should begin at byte 3072"),
        (lambda whole: whole[:3100], "truncated header, where a tar member should begin at byte 3072"),
        (lambda whole: whole + whole, "it holds several archives, and a stream reads one per file"),
    ],
)
def test_damage_that_looks_like_the_end_of_a_shard_is_reported(
    tmp_path: Path, damage: Callable[[bytes], bytes], reason: str
) -> None:
    """`tarfile` stops at each of these without an error, so images would be lost in silence."""
    spec = write_shards(tmp_path, [png(i) for i in range(7)])
    shard = tmp_path / "000.tar"
    whole = shard.read_bytes()
    assert len(opened(spec, held_out=2).train) == 5
    shard.write_bytes(damage(whole))
    with pytest.raises(DataError, match=rf"000\.tar cannot be read: {reason}"):
        opened(spec, held_out=2)


def test_a_report_on_a_stream_is_on_its_first_images(tmp_path: Path) -> None:
    spec = write_shards(tmp_path, [png(i) for i in range(20)])
    report = describe(spec, workers=0)
    assert (report.kind, report.count, dict(report.classes)) == ("stream", 20, {"0": 10, "1": 10})
    with pytest.warns(DataWarning, match="is a stream, of which the first 9 images were read"):
        assert len(first_images(spec, 9).images) == 9


@pytest.mark.parametrize(
    ("package", "spec", "extra"),
    [
        ("webdataset", "stream:{}/000.tar", "nelbo[webdataset]"),
        ("datasets", "{}/a.parquet", "nelbo[datasets]"),
        ("zarr", "{}/a.zarr", "nelbo[zarr]"),
    ],
)
def test_a_missing_package_is_named_with_its_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, package: str, spec: str, extra: str
) -> None:
    write_shards(tmp_path, [png(0)])
    for name in ("a.parquet", "a.zarr"):
        (tmp_path / name).write_bytes(b"")
    for name in [name for name in sys.modules if name.partition(".")[0] == package]:
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ConfigurationError, match=f"needs {package}: pip install '{re.escape(extra)}'"):
        load_data(spec.format(tmp_path))


def test_the_order_is_announced_and_other_uses_are_refused(tmp_path: Path) -> None:
    spec = write_shards(tmp_path, [png(i) for i in range(20)])
    with pytest.warns(DataWarning, match=r"shuffled within windows of 4,096 images, not over the whole set"):
        load_data(spec, num_images=20)
    with pytest.raises(ConfigurationError, match=r"is a stream, for which quantum and mask cannot be given"):
        load_data(spec, quantum=1, mask="masks")
    with pytest.raises(ConfigurationError, match="num_images is for a stream"):
        load_data("digits", num_images=20)
    with pytest.raises(DataError, match="names no stream"):
        load_data("stream:digits")
