"""The commands of the README, in its order, on a folder as people have it."""

import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.cli.conftest import TINY

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
NEEDS_NETWORK = ("import",)


def noise(height: int, width: int, channels: int = 3, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, channels), dtype=np.uint8)


def messy(place: Path) -> None:
    """Write pictures of every kind that people have, and files that are none."""
    (place / "cats").mkdir(parents=True)
    (place / "Hündchen 🐕").mkdir()
    cats, dogs = place / "cats", place / "Hündchen 🐕"
    Image.fromarray(noise(40, 60)).save(cats / "wide.png")
    Image.fromarray(noise(70, 50, seed=1)).save(cats / "TALL.JPG", "JPEG")
    Image.fromarray(noise(33, 33, 4, seed=2), "RGBA").save(cats / "clear.png")
    Image.fromarray(noise(64, 64, seed=3)).quantize(16).save(cats / "palette.png")
    Image.fromarray(noise(48, 48, seed=4)).convert("CMYK").save(cats / "print.jpg")
    Image.fromarray(noise(20, 30, 1, seed=5)[..., 0]).save(dogs / "grey.webp", lossless=True)
    turned = Image.Exif()
    turned[0x0112] = 6
    Image.fromarray(noise(40, 80, seed=6)).save(dogs / "turned.jpg", exif=turned)
    Image.fromarray(np.arange(1600, dtype=np.uint16).reshape(40, 40) * 40).save(dogs / "deep.png")
    Image.fromarray(noise(50, 40, seed=7)).save(dogs / "größe [1].tiff")
    frames = [Image.fromarray(noise(32, 32, seed=8 + i)) for i in range(3)]
    frames[0].save(dogs / "moving.gif", save_all=True, append_images=frames[1:])
    for i in range(16):
        Image.fromarray(noise(36 + i, 40, seed=20 + i)).save((cats, dogs)[i % 2] / f"{i}.png")
    (cats / "broken.jpg").write_bytes((cats / "TALL.JPG").read_bytes()[:200])
    (cats / "empty.png").touch()
    (place / ".DS_Store").write_bytes(b"\0\0\0\1Bud1")
    (place / "notes.txt").write_text("about these pictures")


def commands() -> list[list[str]]:
    """Return the commands of the README's table in order, without `nelbo`."""
    table = README.partition("## Commands")[2].partition("\n## ")[0]
    lines = [line for line in re.findall(r"`(nelbo [^`]+)`", table) if " " in line and "<" not in line]
    found = [shlex.split(line)[1:] for line in lines]
    return [words for words in found if words[0] not in NEEDS_NETWORK]


@pytest.fixture
def stranger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make the files that the README names in the home folder, `~/photos` among them."""
    monkeypatch.setenv("HOME", str(tmp_path))
    messy(tmp_path / "photos")
    messy(tmp_path / "new")
    Image.fromarray(noise(50, 60, seed=50)).save(tmp_path / "photo.png")
    hole = np.zeros((50, 60), np.uint8)
    hole[10:30, 10:30] = 255
    Image.fromarray(hole).save(tmp_path / "mask.png")
    Image.fromarray(noise(28, 28, 1, seed=51)[..., 0]).save(tmp_path / "shirt.png")
    return tmp_path


def test_readme_commands_work_in_sequence_on_a_messy_folder(nelbo_cli, stranger: Path) -> None:
    names = [words[0] for words in commands()]
    assert names[:5] == ["data", "train", "sample", "evaluate", "score"]
    assert {"compress", "decompress", "restore", "plot", "export", "codec"} <= set(names)
    for words in commands():
        smaller = [*TINY, "--set", "schedule.num_steps=100"] if words[0] == "train" else []
        if words[0] == "codec":
            continue  # takes minutes; tests/cli/test_codec.py runs it on a smaller model
        if "--minutes" in words:
            place = words.index("--minutes")
            words = words[:place] + words[place + 2 :]
        done = nelbo_cli(*words, *smaller)
        assert done.code == 0, f"nelbo {shlex.join(words)}\n{done.err}"
        assert "Traceback" not in done.err
        if words[0] == "train":
            assert "broken.jpg" in done.err and "empty.png" in done.err
            assert "1 pictures are left out, because nelbo does not read their formats (.gif: 1)" in done.err
    scores = (stranger / "bits.csv").read_text(encoding="utf-8").splitlines()
    assert len(scores) == 1 + 25 and any("größe [1].tiff" in line for line in scores)
