"""Folders of images: batches in memory, interrupted commands, and files that exist already."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from nelbo.cli import compress, compressed
from nelbo.cli.compressed import batches
from nelbo.codec import ProgressiveCodec, RawImage
from nelbo.data import load_data, pictures


@pytest.fixture
def digits(tmp_path):
    """A folder of four digits as PNG files."""
    folder = tmp_path / "digits"
    folder.mkdir()
    for i, image in enumerate(load_data("digits").require_test().images(range(4))):
        Image.fromarray(image[0].numpy()).save(folder / f"{i}.png")
    return folder


@pytest.fixture
def encoded(monkeypatch):
    """The number of images of each call of the codec."""
    calls, encode = [], ProgressiveCodec.encode

    def count(codec, images, **options):
        calls.append(len(images))
        return encode(codec, images, **options)

    monkeypatch.setattr(ProgressiveCodec, "encode", count)
    return calls


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def change(path: Path) -> None:
    """Change a pixel."""
    pixels = np.asarray(Image.open(path)).copy()
    pixels[0, 0] = (int(pixels[0, 0]) + 1) % 17
    Image.fromarray(pixels).save(path)


def test_batches_are_bounded_by_pixels_and_by_images(monkeypatch):
    monkeypatch.setattr(compressed, "MOST_VALUES", 10)
    monkeypatch.setattr(compressed, "AT_ONCE", 3)
    sizes = [3, 3, 3, 3, 3, 20, 1, 10]
    assert list(batches(iter(sizes), int)) == [[3, 3, 3], [3, 3], [20], [1], [10]]
    assert list(batches([], int)) == []


def test_batches_read_at_most_one_image_ahead(monkeypatch):
    monkeypatch.setattr(compressed, "MOST_VALUES", 10)
    read = []
    found = batches((read.append(size) or size for size in [4, 4, 4, 50, 4]), int)
    assert next(found) == [4, 4] and read == [4, 4, 4]
    assert next(found) == [4] and read == [4, 4, 4, 50]


def test_pictures_are_read_and_written_batch_by_batch(nelbo_cli, with_codec, digits, tmp_path, monkeypatch):
    monkeypatch.setattr(compressed, "AT_ONCE", 1)
    reads, seen = [], []
    decode, encode = pictures.decode, ProgressiveCodec.encode
    monkeypatch.setattr(pictures, "decode", lambda *given, **options: reads.append(1) or decode(*given, **options))

    def watched(codec, images, **options):
        seen.append((len(reads), len(list((tmp_path / "out").glob("*.nelbo")))))
        return encode(codec, images, **options)

    monkeypatch.setattr(ProgressiveCodec, "encode", watched)
    assert nelbo_cli("compress", digits, "-m", with_codec, "-o", "out").code == 0
    assert seen == [(4 + 1, 0), (4 + 2, 1), (4 + 3, 2), (4 + 4, 3)]  # the first reading needs no pixels


def test_interrupted_compression_resumes(nelbo_cli, with_codec, digits, tmp_path, encoded):
    line = ("compress", digits, "-m", with_codec, "-o", "out")
    assert nelbo_cli(*line).code == 0
    whole = contents(tmp_path / "out")
    (tmp_path / "out" / "0.nelbo").unlink()
    (tmp_path / "out" / "1.nelbo").write_bytes(whole["1.nelbo"][:-3])
    encoded.clear()
    done = nelbo_cli(*line, "--json", "sizes.json")
    assert done.code == 0 and "2 of 4 files exist already and are kept" in done.err and encoded == [2]
    assert contents(tmp_path / "out") == whole
    sizes = [file["bytes"] for file in json.loads((tmp_path / "sizes.json").read_text())["files"]]
    assert sizes == [len(content) for content in whole.values()] and "4 images" in done.out


def test_only_lossless_files_of_the_same_effort_are_kept(nelbo_cli, with_codec, digits, encoded):
    line = ("compress", digits, "-m", with_codec, "-o", "out")
    assert nelbo_cli(*line).code == 0
    for options in (("--effort", 2), ("--max-bytes", 30), ()):
        encoded.clear()
        done = nelbo_cli(*line, *options)
        assert done.code == 0 and encoded == [4] and "kept" not in done.err


def test_report_covers_kept_files(nelbo_cli, with_codec, digits, tmp_path):
    line = ("compress", digits, "-m", with_codec, "-o", "out", "--report", "--json", "-")
    before = json.loads(nelbo_cli(*line).out)
    (tmp_path / "out" / "2.nelbo").unlink()
    again = nelbo_cli(*line)
    assert "3 of 4 files" in again.err and json.loads(again.out) == before


def test_files_of_other_images_are_not_replaced(nelbo_cli, with_codec, digits, tmp_path):
    line = ("compress", digits, "-m", with_codec, "-o", "out")
    assert nelbo_cli(*line).code == 0
    before = contents(tmp_path / "out")
    change(digits / "1.png")
    (tmp_path / "out" / "3.nelbo").write_bytes(RawImage(load_data("digits").train.images([0])[0]).to_bytes())
    before["3.nelbo"] = (tmp_path / "out" / "3.nelbo").read_bytes()
    for options in ((), ("--lossy-only",)):
        refused = nelbo_cli(*line, *options)
        assert refused.code == 2 and "2 of 4 files exist already and hold other images (out/1.nelbo" in refused.err
        assert contents(tmp_path / "out") == before


def test_image_that_changes_meanwhile_is_named(nelbo_cli, with_codec, digits, tmp_path, monkeypatch):
    monkeypatch.setattr(compress, "existing", lambda *given, **options: change(digits / "2.png") or {})
    refused = nelbo_cli("compress", digits, "-m", with_codec, "-o", "out")
    assert refused.code == 2 and "2.png has changed since the command began; run it again" in refused.err
    monkeypatch.setattr(compress, "existing", lambda *given, **options: (digits / "3.png").unlink() or {})
    refused = nelbo_cli("compress", digits, "-m", with_codec, "-o", "out")
    assert refused.code == 2 and "3.png has changed" in refused.err


def test_originals_are_not_replaced_by_decoded_images(nelbo_cli, with_codec, digits):
    grey = np.asarray(Image.open(digits / "0.png"))
    alpha = np.full_like(grey, 255)
    alpha[:2] = 250
    Image.fromarray(np.stack([0 * grey, alpha], 2), "LA").save(digits / "0.png")  # darker than the model's levels
    line = ("--out", digits, "-m", with_codec)
    assert nelbo_cli("compress", digits, *line).code == 0
    before = contents(digits)
    kept = nelbo_cli("decompress", digits, *line)
    assert kept.code == 0 and "4 of 4 images exist already with the same pixels and are kept" in kept.err
    change(digits / "1.png")
    changed = contents(digits)
    refused = nelbo_cli("decompress", digits, *line)
    assert refused.code == 2 and f"1 of 4 images exist already and are others ({digits / '1.png'})" in refused.err
    assert contents(digits) == changed and changed["0.png"] == before["0.png"]


def test_interrupted_decompression_resumes(nelbo_cli, with_codec, digits, tmp_path, monkeypatch):
    assert nelbo_cli("compress", digits, "-m", with_codec, "-o", "out").code == 0
    line = ("decompress", "out", "-o", "back", "-m", with_codec)
    assert nelbo_cli(*line).code == 0
    whole = contents(tmp_path / "back")
    (tmp_path / "back" / "1.png").unlink()
    calls, decode = [], ProgressiveCodec.decode
    monkeypatch.setattr(
        ProgressiveCodec, "decode", lambda *given, **more: calls.append(len(given[1])) or decode(*given, **more)
    )
    done = nelbo_cli(*line)
    assert done.code == 0 and "3 of 4 images exist already" in done.err and calls == [1]
    assert contents(tmp_path / "back") == whole


def test_previews_are_compared_after_decoding(nelbo_cli, with_codec, digits, tmp_path):
    assert nelbo_cli("compress", digits / "0.png", "-m", with_codec, "-o", "x.nelbo").code == 0
    line = ("decompress", "x.nelbo", "-o", "x.png", "-m", with_codec, "--bytes")
    assert nelbo_cli(*line, 24).code == 0
    same = nelbo_cli(*line, 24)
    assert same.code == 0 and "1 of 1 images exist already with the same pixels" in same.err
    whole = nelbo_cli(*line[:-1])
    assert whole.code == 2 and "1 of 1 images exist already and are others (x.png)" in whole.err
    change(tmp_path / "x.png")
    before = (tmp_path / "x.png").read_bytes()
    other = nelbo_cli(*line, 24)
    assert other.code == 2 and "x.png exists already and is another image" in other.err
    assert (tmp_path / "x.png").read_bytes() == before


def test_decoding_goes_in_batches(nelbo_cli, with_codec, digits, monkeypatch):
    assert nelbo_cli("compress", digits, "-m", with_codec, "-o", "out").code == 0
    calls, decode = [], ProgressiveCodec.decode
    monkeypatch.setattr(
        ProgressiveCodec, "decode", lambda *given, **more: calls.append(len(given[1])) or decode(*given, **more)
    )
    monkeypatch.setattr(compressed, "MOST_VALUES", 3 * 64)
    assert nelbo_cli("decompress", "out", "-o", "back", "-m", with_codec).code == 0
    assert calls == [3, 1]


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("x.jpg", "cannot write an image as 'x.jpg'; its name must end in one of .png, .webp, .bmp, .tif, .tiff"),
        ("x", "cannot write an image as 'x'"),
        ("file/x.png", "file is a file, not a folder"),
    ],
)
def test_wrong_targets_are_refused_before_reading(nelbo_cli, tmp_path, target, message):
    (tmp_path / "file").touch()
    (tmp_path / "empty.nelbo").touch()
    refused = nelbo_cli("decompress", "empty.nelbo", "-o", target)
    assert refused.code == 2 and message in refused.err
