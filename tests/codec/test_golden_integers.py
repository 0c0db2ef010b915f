"""Files and archives of integer models decode to the same pixels in every later build."""

from pathlib import Path

import numpy as np
import pytest
import torch

from nelbo.codec.archive_codec import HASH_BYTES
from nelbo.data import load_data
from nelbo.runs import IntegerModel
from nelbo.runs.archive import Archive

GOLDEN = Path(__file__).parent / "golden" / "integers"
FILES = sorted(path.stem for path in GOLDEN.glob("*.nelbo"))


@pytest.fixture(scope="module")
def model():
    return IntegerModel.load(GOLDEN)


def test_all_golden_files_are_present():
    assert FILES == ["digit", "effort-1", "effort-9", "lossy", "prefix", "wide"]


@pytest.mark.parametrize("name", FILES)
def test_golden_files_decode_exactly(model, name):
    found = model.codec().decode_bytes((GOLDEN / f"{name}.nelbo").read_bytes())
    assert np.array_equal(found.image.numpy(), np.load(GOLDEN / f"{name}.npy"))
    assert found.status == ("lossy" if name in ("lossy", "prefix") else "lossless")


def test_golden_archive_decodes_exactly(model):
    archive, codec = Archive.open(GOLDEN / "digits.nelbos"), model.archive_codec()
    blocks = archive.contents.blocks
    assert [len(block.members) for block in blocks] == [200, 40]
    assert archive.members[7].path == "1/7.png" and archive.members[7].time == 10**9 + 7
    with archive.path.open("rb") as file:
        assert blocks[0].read(file)[HASH_BYTES] < 200  # not all of its images are stored without the model
    found = [image for block in blocks for image in archive.read(block, codec)]
    expected = load_data("digits").require_test().images(range(240))
    assert all(torch.equal(image, other) for image, other in zip(found, expected, strict=True))


def test_fingerprints_are_those_in_the_files(model):
    content = (GOLDEN / "digit.nelbo").read_bytes()
    assert content[2:5] == model.file_fingerprint[:3]
    assert model.fingerprint[:8] == (GOLDEN / "digits.nelbos").read_bytes()[2:10]
