import os
import subprocess
import sys

import pytest
from PIL import Image

from nelbo.errors import ConfigurationError, RunError
from nelbo.plots import save, score_histogram


@pytest.mark.parametrize(("ending", "magic"), [(".png", b"\x89PNG"), (".pdf", b"%PDF"), (".svg", b"<?xml")])
def test_the_name_sets_the_format(tmp_path, ending, magic):
    path = save(score_histogram([1.0, 2.0, 3.0]), tmp_path / "made" / "on the way" / f"scores{ending}")
    assert path.read_bytes().startswith(magic)


@pytest.mark.parametrize("ending", [".png", ".webp", ".bmp", ".tiff"])
def test_images_are_stored_losslessly(tmp_path, ending):
    image = Image.frombytes("RGB", (7, 5), os.urandom(7 * 5 * 3))
    with Image.open(save(image, tmp_path / f"image{ending}")) as read:
        assert read.convert("RGB").tobytes() == image.tobytes()


def test_images_are_written_without_matplotlib(tmp_path):
    """It takes half a second to import, which `nelbo sample` would wait for."""
    program = (
        "import sys, torch; from nelbo.plots import picture_of, save\n"
        "save(picture_of(torch.zeros(2, 1, 4, 4, dtype=torch.uint8), 256), sys.argv[1])\n"
        "assert 'matplotlib' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program, tmp_path / "grid.png"], check=True)
    assert (tmp_path / "grid.png").is_file()


def test_the_same_picture_gives_the_same_bytes(tmp_path):
    first, second = (save(score_histogram([1.0, 2.0]), tmp_path / f"{i}.png") for i in range(2))
    assert first.read_bytes() == second.read_bytes()


def test_a_failed_write_keeps_the_old_picture(tmp_path, monkeypatch):
    path = save(Image.new("L", (4, 4), 7), tmp_path / "grid.png")
    before = path.read_bytes()

    def no_space(source, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", no_space)
    with pytest.raises(RunError, match="the disk is full"):
        save(Image.new("L", (4, 4), 200), path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("name", ["grid.jpg", "grid", "grid.pdf"])
def test_a_lossy_format_is_refused(tmp_path, name):
    with pytest.raises(ConfigurationError, match=r"\.png.*change out"):
        save(Image.new("L", (4, 4)), tmp_path / name)
    assert not list(tmp_path.iterdir())
