"""Archives of folders: packed, stopped and continued, unpacked, and found by the fingerprint of their model."""

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch

from nelbo.codec import ArchiveCodec
from nelbo.codec.archive_index import Member
from nelbo.errors import CodecError, ConfigurationError, DataError, RunError
from nelbo.files import read_tensors, write_tensors
from nelbo.lattice.storage import fingerprint_of, model_from, settings_of, tensors_of
from nelbo.runs import find_model, packing
from nelbo.runs.archive import Archive, codec_of
from nelbo.runs.codec_plan import MADE_ARCHIVES
from nelbo.runs.integer_model import INTEGER_FILE, IntegerModel
from nelbo.runs.packing import pack
from tests.lattice.tiny import digits, tiny_integer_model, tiny_model


@pytest.fixture
def codec() -> ArchiveCodec:
    model = tiny_model()
    return ArchiveCodec(model, fingerprint_of(model))


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packing, "MOST_IN_BLOCK", 10)


def images(num: int = 35) -> list[packing.Packed]:
    return [(Member(f"class-{i % 3}/{i}.jpg", 8, 8, None, 10**9 + i), image) for i, image in enumerate(digits(num))]


def unpacked(path: Path, codec: ArchiveCodec) -> list[torch.Tensor]:
    opened = Archive.open(path)
    return [image for block in opened.contents.blocks for image in opened.read(block, codec)]


@pytest.mark.usefixtures("small_blocks")
def test_images_names_and_times_come_back(tmp_path, codec):
    report = pack(images(), codec, tmp_path / "a.nelbos")
    assert (report.num_images, report.num_blocks, report.num_dims) == (35, 4, 35 * 64)
    assert report.num_bytes == (tmp_path / "a.nelbos").stat().st_size
    assert "35 images in 4 blocks" in str(report)
    assert report.to_pandas()["bits_per_dim"].tolist() == [report.bits_per_dim]
    opened = Archive.open(tmp_path / "a.nelbos")
    assert opened.members == [member for member, _ in images()] and opened.contents.complete
    for image, (_, expected) in zip(unpacked(tmp_path / "a.nelbos", codec), images(), strict=True):
        assert torch.equal(image, expected)
    assert [path.name for path in tmp_path.iterdir()] == ["a.nelbos"]


class Stopped(Exception):
    pass


def stopped_after(some: list[packing.Packed], num: int):
    yield from itertools.islice(some, num)
    raise Stopped


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("num", [0, 5, 10, 11, 25, 34])
def test_stopped_archive_is_finished_as_an_unbroken_one(tmp_path, codec, num):
    pack(images(), codec, tmp_path / "whole.nelbos")
    with pytest.raises(Stopped):
        pack(stopped_after(images(), num), codec, tmp_path / "a.nelbos")
    assert not (tmp_path / "a.nelbos").exists()
    pack(images(), codec, tmp_path / "a.nelbos")
    assert (tmp_path / "a.nelbos").read_bytes() == (tmp_path / "whole.nelbos").read_bytes()


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("times", [20, pytest.param(200, marks=pytest.mark.slow)])
def test_killed_writer_leaves_any_bytes(tmp_path, codec, times):
    """The hidden file may end anywhere, or have damage: the archive still equals an unbroken one."""
    pack(images(), codec, tmp_path / "whole.nelbos")
    whole, generator = (tmp_path / "whole.nelbos").read_bytes(), np.random.default_rng(0)
    for number in range(times):
        left = bytearray(whole[: int(generator.integers(len(whole)))])
        if number % 3 == 0 and left:
            left[int(generator.integers(len(left)))] ^= 1
        (tmp_path / ".a.nelbos.part").write_bytes(left)
        pack(images(), codec, tmp_path / "a.nelbos")
        assert (tmp_path / "a.nelbos").read_bytes() == whole
        (tmp_path / "a.nelbos").unlink()


@pytest.mark.usefixtures("small_blocks")
def test_blocks_that_are_done_are_not_encoded_again(tmp_path, codec, monkeypatch):
    with pytest.raises(Stopped):
        pack(stopped_after(images(), 25), codec, tmp_path / "a.nelbos")
    encoded = []
    encode = ArchiveCodec.encode
    monkeypatch.setattr(
        ArchiveCodec, "encode", lambda self, some, *rest: encoded.append(1) or encode(self, some, *rest)
    )
    pack(images(), codec, tmp_path / "a.nelbos")
    assert len(encoded) == 2


@pytest.mark.usefixtures("small_blocks")
def test_images_that_changed_are_encoded_again(tmp_path, codec):
    with pytest.raises(Stopped):
        pack(stopped_after(images(), 25), codec, tmp_path / "a.nelbos")
    changed = images()
    changed[12] = changed[12][0], 16 - changed[12][1]
    pack(changed, codec, tmp_path / "a.nelbos")
    assert torch.equal(unpacked(tmp_path / "a.nelbos", codec)[12], changed[12][1])


def test_existing_archive_is_not_replaced(tmp_path, codec):
    (tmp_path / "a.nelbos").write_bytes(b"precious")
    with pytest.raises(ConfigurationError, match="exists already"):
        pack(images(3), codec, tmp_path / "a.nelbos")
    assert (tmp_path / "a.nelbos").read_bytes() == b"precious"


def test_names_that_occur_twice_or_lead_away_are_refused(tmp_path, codec):
    twice = [images(1)[0], images(1)[0]]
    with pytest.raises(ConfigurationError, match=r"several images have the name 'class-0/0\.jpg'"):
        pack(twice, codec, tmp_path / "a.nelbos")
    with pytest.raises(CodecError, match="relative path"):
        pack([(Member("../x", 8, 8), images(1)[0][1])], codec, tmp_path / "b.nelbos")


def test_targets_are_pngs_with_different_names(tmp_path, codec):
    names = ["a.png", "b.jpg", "b.png", "b.jpg.png", "c", "d.v2", "E.jpg", "e.tif", "f.jpg", "f.png/1.png"]
    pack([(Member(name, 8, 8), digits(1)[0]) for name in names], codec, tmp_path / "a.nelbos")
    targets = Archive.open(tmp_path / "a.nelbos").targets(Path("x"))
    assert [target.as_posix() for target in targets.values()] == [
        "x/a.png",
        "x/b.png",
        "x/b.png.png",
        "x/b.jpg.png",
        "x/c.png",
        "x/d.v2.png",
        "x/E.png",
        "x/e.tif.png",
        "x/f.jpg.png",
        "x/f.png/1.png",
    ]


def test_archive_of_another_model_is_refused(tmp_path, codec):
    other = tiny_model(seed=7)
    pack(images(3), ArchiveCodec(other, fingerprint_of(other)), tmp_path / "a.nelbos")
    with pytest.raises(CodecError, match="choose the model that made it"):
        unpacked(tmp_path / "a.nelbos", codec)


def test_files_that_are_no_archive_are_refused(tmp_path):
    with pytest.raises(DataError, match="cannot be read: No such file"):
        Archive.open(tmp_path / "a.nelbos")
    (tmp_path / "a.nelbos").write_bytes(b"something else")
    with pytest.raises(CodecError, match=r"a\.nelbos: this is not an archive"):
        Archive.open(tmp_path / "a.nelbos")


def test_model_is_stored_and_found(tmp_path, monkeypatch, codec):
    folder = tmp_path / "runs" / "mine"
    folder.mkdir(parents=True)
    with pytest.raises(ConfigurationError, match="train it once with `nelbo codec --integers"):
        IntegerModel.load(folder)
    tiny_integer_model().save(folder)
    (folder / "config.json").write_text("{}")
    loaded = IntegerModel.load(folder).archive_codec()
    assert loaded.fingerprint == codec.fingerprint
    block = codec.encode(list(digits(20)))
    assert all(torch.equal(a, b) for a, b in zip(loaded.decode(block, [(8, 8)] * 20), digits(20), strict=True))
    pack(images(3), codec, tmp_path / "a.nelbos")
    monkeypatch.chdir(tmp_path)
    assert find_model(codec.fingerprint[:8], MADE_ARCHIVES) == Path("runs/mine")
    assert codec_of(Archive.open(tmp_path / "a.nelbos"), None).fingerprint == codec.fingerprint


def test_damaged_model_is_refused(tmp_path, codec):
    tiny_integer_model().save(tmp_path)
    tensors, metadata = read_tensors(tmp_path / INTEGER_FILE)
    for name, change in (
        ("pixels.0.weight", lambda t: t + 1),
        ("pixels.0.weight", lambda t: t.int()),
        ("chain.input.bias", lambda t: t[:1]),
        ("chain.input.bias", lambda t: torch.full_like(t, 2**30)),
        ("linear.coefficient", lambda t: t[:2]),
        ("chain.output.shift", lambda t: -t - 1),
        ("linear.prior_scale", lambda t: t + 60),
    ):
        write_tensors(tmp_path / INTEGER_FILE, {**tensors, name: change(tensors[name])}, metadata)
        with pytest.raises(RunError, match=r"integers\.safetensors"):
            IntegerModel.load(tmp_path)
    write_tensors(tmp_path / INTEGER_FILE, {k: v for k, v in tensors.items() if k != "linear.mean"}, metadata)
    with pytest.raises(RunError, match=r"linear\.mean"):
        IntegerModel.load(tmp_path)


def test_stored_model_is_the_model(codec):
    again = model_from(settings_of(codec.model), tensors_of(codec.model))
    assert fingerprint_of(again) == fingerprint_of(codec.model) == codec.fingerprint
    assert fingerprint_of(tiny_model(seed=1)) != codec.fingerprint


def test_empty_archive_is_refused(tmp_path, codec):
    with pytest.raises(DataError, match="no images to pack"):
        pack([], codec, tmp_path / "a.nelbos")
    assert not list(tmp_path.iterdir())


def test_plain_large_image_comes_back(tmp_path, codec, monkeypatch):
    """A blank page packs 6,000 times without the model: within the limits of readers."""
    monkeypatch.setattr(ArchiveCodec, "_with_model", lambda *_: bytes(10**7))
    page = torch.zeros(1, 2200, 2000, dtype=torch.uint8)
    pack([(Member("page.png", 2200, 2000), page)], codec, tmp_path / "a.nelbos")
    assert torch.equal(unpacked(tmp_path / "a.nelbos", codec)[0], page)


def test_second_writer_is_refused(tmp_path, codec):
    def images_with_a_rival():
        yield from images(3)
        with pytest.raises(RunError, match="another process is writing"):
            pack(images(2), codec, tmp_path / "a.nelbos")

    pack(images_with_a_rival(), codec, tmp_path / "a.nelbos")
    assert len(unpacked(tmp_path / "a.nelbos", codec)) == 3
    assert [path.name for path in tmp_path.iterdir()] == ["a.nelbos"]


def test_error_of_reading_is_not_one_of_writing(tmp_path, codec):
    def vanishing():
        yield images(1)[0]
        raise FileNotFoundError("gone")

    with pytest.raises(FileNotFoundError):
        pack(vanishing(), codec, tmp_path / "a.nelbos")
