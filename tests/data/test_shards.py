import io
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from nelbo.data import FolderDataset, describe, load_data
from nelbo.data.shards import expand, list_shards
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
    with pytest.raises(
        DataError, match=r"cut\.tar is damaged at byte 700, after 0 images: .* inside its member a/0\.png"
    ):
        load_data(str(shards / "cut.tar"))
    with pytest.raises(DataError, match=r"packed\.tar is not an uncompressed tar file"):
        load_data(str(shards / "packed.tar"))
    shard(shards / "none.tar", {"a.txt": b"text"})
    with pytest.raises(DataError, match=r"no member of its 1 shard ends"):
        load_data(str(shards / "none.tar"))


def test_ranges_keep_zeros_and_combine() -> None:
    assert list(map(str, expand("a{08..10}-{0..1}.tar"))) == [
        f"a{number}-{part}.tar" for number in ("08", "09", "10") for part in (0, 1)
    ]


def test_damage_after_the_first_member_is_an_error(tmp_path: Path) -> None:
    """Python's tarfile ends silently at a header that it cannot read (mafintosh/tar-stream#82)."""
    shard(tmp_path / "a.tar", {f"{i}.png": png(i) for i in range(4)})
    content = (tmp_path / "a.tar").read_bytes()
    with tarfile.open(tmp_path / "a.tar") as archive:
        headers = [member.offset for member in archive]
        ends = [member.offset_data + member.size for member in archive]
    for number, header in enumerate(headers[1:], 1):
        flipped = bytearray(content)
        flipped[header + 3] ^= 1
        (tmp_path / "b.tar").write_bytes(flipped)
        after = f"after {number} image{'s' * (number > 1)}: "
        with pytest.raises(DataError, match=rf"b\.tar is damaged at byte {header}, {after}"):
            load_data(str(tmp_path / "b.tar"))
        (tmp_path / "b.tar").write_bytes(content[: header + 100])
        with pytest.raises(DataError, match=rf"b\.tar is damaged at byte {header}, {after}"):
            load_data(str(tmp_path / "b.tar"))
        cut = ends[number] - 1
        (tmp_path / "b.tar").write_bytes(content[:cut])
        message = (
            rf"b\.tar is damaged at byte {cut}, {after}the file ends inside its member {number}\.png; copy it again"
        )
        with pytest.raises(DataError, match=message):
            load_data(str(tmp_path / "b.tar"))
        (tmp_path / "b.tar").write_bytes(content[:header])  # a file may end where a member ends
        assert len(load_data(str(tmp_path / "b.tar"), held_out=0).train) == number


def test_concatenated_archives_are_read_whole(tmp_path: Path) -> None:
    for number in range(2):
        shard(tmp_path / f"{number}.tar", {"0.png": png(number), "0.cls": str(number).encode()})
    both = (tmp_path / "0.tar").read_bytes() + (tmp_path / "1.tar").read_bytes()
    (tmp_path / "both.tar").write_bytes(both)
    train = load_data(str(tmp_path / "both.tar"), held_out=0).train
    one_by_one = load_data(str(tmp_path / "{0..1}.tar"), held_out=0).train
    assert torch.equal(train.images(range(2)), one_by_one.images(range(2)))
    assert train.labels is not None and train.labels.tolist() == [0, 1]
    end = len((tmp_path / "0.tar").read_bytes()) + 600
    (tmp_path / "both.tar").write_bytes(both[:end])
    with pytest.raises(DataError, match=rf"both\.tar is damaged at byte {end}, after 1 image: "):
        load_data(str(tmp_path / "both.tar"))
    (tmp_path / "both.tar").write_bytes(both[:-1024] + b"text" + bytes(1020))
    with pytest.raises(DataError, match=r"both\.tar is damaged at byte|is not an uncompressed tar file"):
        load_data(str(tmp_path / "both.tar"))


def test_later_member_replaces_one_of_the_same_name(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        for name, content in (("0.png", png(0)), ("0.cls", b"old"), ("0.png", png(1)), ("0.cls", b"new")):
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    train = load_data(str(tmp_path / "a.tar"), held_out=0).train
    assert torch.equal(
        train.images([0])[0], torch.from_numpy(np.array(Image.open(io.BytesIO(png(1))))).permute(2, 0, 1)
    )
    assert train.class_names == ("new",)
    assert {reject.reason for reject in train.rejects} == {"a later member has the same name"}


@pytest.mark.parametrize(
    ("members", "classes", "ignored"),
    [
        (("22.05.png", "22.05.cls", "22.10.png", "22.10.cls"), ["22.05", "22.10"], {}),
        (("0.jpg", "0.seg.png", "0.cls"), ["0"], {".seg.png": 1}),
        (("0.rgb.png", "0.cls"), ["0"], {}),
        (("0.png", "1.cls", "2.cls"), [None], {".cls without an image": 2}),
        (("a.b/0.png", "a.b/0.cls"), ["a.b/0"], {}),
        ((".png", "0.png", "0.CLS"), ["0"], {"hidden": 1}),
    ],
)
def test_names_with_dots(tmp_path: Path, members: tuple[str, ...], classes: list[str | None], ignored: dict[str, int]):
    """Each class file holds its own name without the ending, after a byte order mark."""
    content = {
        name: b"\xef\xbb\xbf" + name[:-4].encode() if name.lower().endswith(".cls") else png(0) for name in members
    }
    shard(tmp_path / "a.tar", content)
    listing = list_shards([tmp_path / "a.tar"])
    assert (listing.classes, dict(listing.ignored)) == (classes, ignored)


def pax_shard(path: Path, number: int) -> list[int]:
    """Write images whose names need an extended header each; return where these headers are."""
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as archive:
        for i in range(number):
            info = tarfile.TarInfo("x" * 120 + f"{i}.png")
            info.size = len(png(i))
            archive.addfile(info, io.BytesIO(png(i)))
    with tarfile.open(path) as archive:
        return [member.offset for member in archive]


@pytest.mark.parametrize("place", [0, 2, 3, 8, -1])
def test_damaged_extended_header_is_an_error(tmp_path: Path, place: int) -> None:
    """Python 3.11.7 ignores records that it cannot read: a name lost its ending, and the image was left out."""
    header = pax_shard(tmp_path / "a.tar", 3)[1]
    assert len(load_data(tmp_path / "a.tar", held_out=0).train) == 3
    content = bytearray((tmp_path / "a.tar").read_bytes())
    size = int(content[header + 124 : header + 135], 8)
    content[header + 512 + place % size] ^= 0x11
    (tmp_path / "a.tar").write_bytes(content)
    with pytest.raises(DataError, match=rf"a\.tar is damaged at byte {header}, after 1 image: .*; copy it again"):
        load_data(tmp_path / "a.tar")


def test_image_whose_name_has_no_ending_is_a_reject(tmp_path: Path) -> None:
    header = pax_shard(tmp_path / "a.tar", 3)[1]
    content = (tmp_path / "a.tar").read_bytes()
    at = content.index(b" path=", header)
    (tmp_path / "a.tar").write_bytes(content[:at] + b" pbth=" + content[at + 6 :])  # a record of another keyword
    train = load_data(tmp_path / "a.tar", held_out=0).train
    assert len(train) == 2 and "it begins like a PNG image, but its name has no ending" in train.rejects[0].reason
    shard(tmp_path / "b.tar", {"0.png": png(0), "a.b/LICENSE": b"text", "c": b"BM, said he", "0.\udcffng": b""})
    assert dict(describe(tmp_path / "b.tar").ignored) == {"no ending": 2, ".\\xffng": 1}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_class_is_read_by_its_byte_order_mark(tmp_path: Path, encoding: str) -> None:
    shard(tmp_path / "a.tar", {"0.png": png(0), "0.cls": "Kätzchen\n".encode(encoding)})
    listing = list_shards([tmp_path / "a.tar"])
    assert (listing.classes, listing.rejects, dict(listing.ignored)) == (["Kätzchen"], [], {})


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("cat".encode("utf-16-le"), "it is not text in UTF-8"),
        (b"\xff\xfe\xff", "it is not text in UTF-8"),
        (b"caf\xe9", "it is not text in UTF-8"),
        ((3).to_bytes(8, "little"), "it is not text in UTF-8"),
        (b"x" * 257, "it has more than 256 bytes"),
    ],
)
def test_content_that_is_no_class_name_is_a_reject(tmp_path: Path, content: bytes, reason: str) -> None:
    shard(tmp_path / "a.tar", {"0.png": png(0), "0.cls": content, "1.png": png(1), "1.cls": b"cat"})
    listing = list_shards([tmp_path / "a.tar"])
    assert listing.classes == [None, "cat"]
    assert [Path(reject.path).name for reject in listing.rejects] == ["a.tar:0.cls"]
    assert reason in listing.rejects[0].reason


def test_empty_class_is_no_class(tmp_path: Path) -> None:
    shard(tmp_path / "a.tar", {"0.png": png(0), "0.cls": b"", "1.png": png(1), "1.cls": b" \n", "2.png": png(2)})
    listing = list_shards([tmp_path / "a.tar"])
    assert (listing.classes, dict(listing.ignored)) == ([None] * 3, {"empty .cls": 2})
    assert load_data(tmp_path / "a.tar", held_out=0).train.class_names == ()


@pytest.mark.parametrize("name", ["a.tar.gz", "a.tgz", "sub/A.TAR.XZ", "a.tar.zst"])
def test_compressed_shards_are_named(tmp_path: Path, name: str) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    shard(tmp_path / name, {"0.png": png(0)}, "w:gz")
    for spec in (tmp_path, tmp_path / name):
        with pytest.raises(DataError, match=rf"{name} is compressed, .* decompress it to a \.tar file"):
            load_data(spec)


def test_shards_in_sub_folders_are_read_once(tmp_path: Path) -> None:
    for number, name in enumerate(("a.tar", "one/B.TAR", "one/two/c.tar", ".old/d.tar")):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shard(tmp_path / name, {f"{number}.png": png(number)})
    (tmp_path / "one/loop").symlink_to(tmp_path)
    train = load_data(tmp_path, held_out=0).train
    assert (train.name, len(train)) == (tmp_path.name, 3)
