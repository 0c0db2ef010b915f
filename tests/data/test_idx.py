import gzip
import struct
from pathlib import Path

import numpy as np
import pytest
import torch

from nelbo.data import describe, load_data
from nelbo.data.idx import FASHION_CLASSES, read_idx
from nelbo.errors import DataError

IMAGES = np.random.default_rng(0).integers(0, 256, (40, 5, 6), dtype=np.uint8)
LABELS = (np.arange(40) % 3).astype(np.uint8)


def idx(array: np.ndarray) -> bytes:
    return bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def write(folder: Path, part: str = "train", packed: bool = False, labels: bool = True) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for kind, array in [("images-idx3", IMAGES), ("labels-idx1", LABELS)][: 1 + labels]:
        content = idx(array)
        name = f"{part}-{kind}-ubyte" + (".gz" if packed else "")
        (folder / name).write_bytes(gzip.compress(content) if packed else content)


@pytest.mark.parametrize("packed", [False, True])
def test_pixels_and_labels(tmp_path: Path, packed: bool) -> None:
    write(tmp_path, "train", packed), write(tmp_path, "t10k", packed)
    split = load_data(str(tmp_path))
    assert (len(split.train), len(split.test)) == (40, 40)
    assert torch.equal(split.train.images(range(40))[:, 0], torch.from_numpy(IMAGES))
    assert split.train.labels is not None and split.train.labels.tolist() == LABELS.tolist()
    assert split.train.class_names == ("0", "1", "2")


def test_t10k_and_labels_are_optional(tmp_path: Path) -> None:
    write(tmp_path, labels=False)
    split = load_data(str(tmp_path))
    assert (len(split.train), len(split.test), split.train.labels) == (38, 2, None)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "begins with nothing"),
        (b"\x89PNG\r\n", "begins with 89 50 4e 47; expected 00 00 08"),
        (bytes([0, 0, 13, 3]) + bytes(12), "begins with 00 00 0d 03"),
        (idx(IMAGES)[:10], "10 bytes found, but its header alone has 16"),
        (idx(IMAGES)[:-1], "1215 bytes; its header declares 40 x 5 x 6, so 1216 bytes"),
        (idx(IMAGES) + b"x", "1217 bytes; its header declares 40 x 5 x 6, so 1216 bytes"),
        (bytes([0, 0, 8, 3]) + b"\xff" * 12, "has 16 bytes; its header declares 4294967295"),
    ],
)
def test_malformed_file_is_reported(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "train-images-idx3-ubyte"
    path.write_bytes(content)
    for read in (lambda: read_idx(path), lambda: load_data(str(tmp_path))):
        with pytest.raises(DataError) as caught:
            read()
        assert message in str(caught.value) and str(path) in str(caught.value)


def test_damaged_gzip_is_reported(tmp_path: Path) -> None:
    path = tmp_path / "train-images-idx3-ubyte.gz"
    for content in (gzip.compress(idx(IMAGES))[:-20], b"no gzip"):
        path.write_bytes(content)
        with pytest.raises(DataError, match=r"ubyte\.gz cannot be read"):
            read_idx(path)


def test_number_of_labels_must_match(tmp_path: Path) -> None:
    write(tmp_path)
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(idx(LABELS[:-1]))
    with pytest.raises(DataError, match="expected 40 labels"):
        load_data(str(tmp_path))


def test_fashion_mnist_is_found_in_nelbo_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "fashion-mnist", "train", True), write(tmp_path / "fashion-mnist", "t10k", True)
    monkeypatch.setenv("NELBO_DATA", str(tmp_path))
    split = load_data("fashion-mnist")
    assert (len(split.train), split.train.class_names) == (40, FASHION_CLASSES)
    report = describe("fashion-mnist")
    assert (report.count, report.held_out, report.classes["Trouser"]) == (80, 40, 26)


def test_missing_fashion_mnist_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nelbo.data.idx.find_idx", lambda folder: {})
    with pytest.raises(
        DataError, match=r"apt install dataset-fashion-mnist.*github\.com/zalandoresearch.*\./data/fashion"
    ):
        load_data("fashion-mnist")


def renamed(folder: Path, *names: str) -> Path:
    """Write IDX files of given names: images, then labels, alternately; `.gz` packs a file."""
    folder.mkdir(parents=True, exist_ok=True)
    for turn, name in enumerate(names):
        content = idx(LABELS if turn % 2 else IMAGES)
        (folder / name).write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    return folder


TRAINING, TESTING = (
    ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    ("t10k-images-idx3-ubyte.gz", "t10k-labels.gz"),
)


@pytest.mark.parametrize(
    ("place", "names", "held_out"),
    [
        ("", ("train-images.idx3-ubyte", "train-labels.idx1-ubyte", "t10k-images.idx3-ubyte", "t10k-labels.idx1"), 40),
        ("", ("emnist-letters-train-images-idx3-ubyte.gz", "emnist-letters-train-labels-idx1-ubyte.gz"), 2),
        ("", ("pictures", "labels"), 2),
        ("MNIST/raw", TRAINING + TESTING, 40),
        ("raw", TRAINING, 2),
        ("", TESTING, 2),  # without a training part
        ("", (*TRAINING, "train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz"), 2),
    ],
)
def test_other_names_are_found_by_their_first_bytes(
    tmp_path: Path, place: str, names: tuple[str, ...], held_out: int
) -> None:
    renamed(tmp_path / place, *names)
    (tmp_path / "readme.txt").write_text("text")
    split = load_data(str(tmp_path))
    assert (len(split.train) + (len(split.test) if held_out == 2 else 0), len(split.test)) == (40, held_out)
    assert split.train.class_names == ("0", "1", "2")


def test_one_file_names_its_set(tmp_path: Path) -> None:
    letters, digits = (tuple(f"{kind}-{name}" for name in TRAINING + TESTING) for kind in ("letters", "digits"))
    renamed(tmp_path, *letters), renamed(tmp_path, *digits)
    with pytest.raises(DataError, match=r"holds 2 IDX sets; name the images file of one, such as .*idx3-ubyte"):
        load_data(str(tmp_path))
    split = load_data(str(tmp_path / letters[0]))
    assert (len(split.train), len(split.test)) == (40, 40)
    split = load_data(str(tmp_path / letters[2]), held_out=0)  # the test part alone
    assert (len(split.train), len(split.test)) == (40, 0)


OTHERS = {
    "rgb": (bytes([0, 0, 8, 4]) + struct.pack(">4I", 1, 2, 2, 3) + bytes(12), "4 axes of bytes"),
    "floats": (bytes([0, 0, 13, 3]) + struct.pack(">3I", 1, 2, 2) + bytes(16), "3 axes of 32-bit floats"),
    "labels": (idx(LABELS), "1 axis of bytes"),
    "packed.gz": (gzip.compress(bytes([0, 0, 14, 2]) + struct.pack(">2I", 1, 1) + bytes(8)), "2 axes of 64-bit floats"),
}


@pytest.mark.parametrize("name", OTHERS)
def test_other_idx_files_are_named(tmp_path: Path, name: str) -> None:
    content, kind = OTHERS[name]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=rf"{name} is an IDX file of {kind}; nelbo reads IDX images of 3 axes of bytes"):
        load_data(tmp_path / name)
    with pytest.raises(DataError, match=rf"no IDX files of images .*\({name} holds {kind}; .*save other arrays as"):
        load_data(tmp_path)


def test_idx_files_in_other_places_are_named(tmp_path: Path) -> None:
    for number in range(6):
        renamed(tmp_path / f"deep/{number}", "pictures")
    with pytest.raises(DataError, match=r"in raw or in NAME/raw \(deep/\d/pictures holds 3 axes.* and 2 more are not"):
        load_data(tmp_path)


def test_type_is_named_where_the_name_is_that_of_an_idx_file(tmp_path: Path) -> None:
    (tmp_path / "train-images-idx3").write_bytes(OTHERS["floats"][0])
    with pytest.raises(DataError, match=r"begins with 00 00 0d 03 \(3 axes of 32-bit floats\); expected 00 00 08"):
        load_data(tmp_path)
