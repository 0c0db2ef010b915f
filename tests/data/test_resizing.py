"""Large images are reduced while they are decoded: how close the result is to that of the whole image, and its cost."""

import threading
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

from nelbo.data import flattening
from nelbo.data.decoding import conform, decode
from nelbo.data.memory import MemoryBound
from nelbo.data.resizing import GAP, reduction
from nelbo.data.stored import StoredImage


@cache
def scene(height: int, width: int, alpha: bool = False) -> np.ndarray:
    """Make discs of sharp edges on waves, with noise."""
    random, (y, x) = np.random.default_rng(0), np.mgrid[0:height, 0:width]
    pixels = np.zeros((height, width, 4 if alpha else 3))
    for _ in range(40):
        row, column, radius = random.uniform(0, height), random.uniform(0, width), random.uniform(0.02, 0.2) * height
        pixels[(y - row) ** 2 + (x - column) ** 2 < radius**2] = random.uniform(0, 255, pixels.shape[2])
    pixels += random.normal(0, 10, pixels.shape) + 20 * np.sin(x / 37 + y / 23)[..., None]
    return np.clip(pixels, 0, 255).astype(np.uint8)


def whole(path: Path, size: tuple[int, int]) -> np.ndarray:
    """The result without any reduction."""
    with Image.open(path) as image:
        upright = ImageOps.exif_transpose(image)
        if upright.mode == "RGBA":
            upright = Image.alpha_composite(Image.new("RGBA", upright.size, "white"), upright)
        return np.asarray(ImageOps.fit(upright.convert("RGB"), size[::-1], Image.Resampling.LANCZOS)).astype(int)


@pytest.mark.parametrize("size", [(64, 64), (32, 32), (48, 80)])
@pytest.mark.parametrize("name", ["a.png", "a.jpg", "alpha.png", "turned.jpg", "turned.png", "turned-8.jpg"])
def test_reduced_image_is_close_to_the_whole_one(tmp_path: Path, name: str, size: tuple[int, int]) -> None:
    options = {"quality": 92} if name.endswith("jpg") else {}
    exif = Image.Exif()
    exif[0x0112] = 6
    options |= {"exif": exif} if name.startswith("turned") else {}
    height, width = (808, 1208) if "8" in name else (803, 1207)
    Image.fromarray(scene(height, width, name.startswith("alpha"))).save(tmp_path / name, **options)
    found = decode(StoredImage(str(tmp_path / name)), size)
    error = found.pixels.astype(int) - whole(tmp_path / name, size)
    assert found.file_size == ((width, height) if name.startswith("turned") else (height, width))
    assert np.sqrt((error**2).mean()) < 1 and abs(error).max() <= 16 and abs(error.mean()) < 0.2


def test_image_of_few_times_the_size_is_not_reduced(tmp_path: Path) -> None:
    for name in ("a.png", "a.jpg"):
        Image.fromarray(scene(2 * GAP * 16 - 1, 300)).save(tmp_path / name)
        assert (decode(StoredImage(str(tmp_path / name)), (16, 16)).pixels == whole(tmp_path / name, (16, 16))).all()
    assert [reduction((rows, 1000), (16, 16)) for rows in (15, 127, 128, 1000)] == [1, 1, 2, 15]


def test_arrays_are_reduced_by_the_same_steps(tmp_path: Path) -> None:
    pixels = scene(403, 607)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    found = decode(StoredImage(str(tmp_path / "a.png")), (16, 24)).pixels
    array = torch.from_numpy(pixels).permute(2, 0, 1)[None]
    assert torch.equal(conform(array, (16, 24), "RGB")[0].permute(1, 2, 0), torch.from_numpy(found))
    grey = conform(array[:, :1], (16, 24), "L", nearest=True).unique()
    assert set(grey.tolist()) <= set(array[:, :1].unique().tolist())


@pytest.mark.parametrize("mode", ["L", "LA", "P", "RGB", "RGBA", "CMYK", "1", "I;16"])
def test_strips_give_the_pixels_of_the_whole(tmp_path: Path, mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = scene(97, 61, alpha=True)
    image = Image.fromarray(pixels[..., 0].astype(np.uint16) << 8) if mode == "I;16" else None
    image = image or Image.fromarray(pixels).convert("RGB" if mode == "CMYK" else "RGBA").convert(mode)
    image.save(tmp_path / "a.tif" if mode == "CMYK" else tmp_path / "a.png")
    stored = StoredImage(str(next(tmp_path.glob("a.*"))))
    expected = [decode(stored, size) for size in (None, (8, 8), (4, 4))]
    monkeypatch.setattr(flattening, "STRIP", 61 * 10)
    for size, one in zip((None, (8, 8), (4, 4)), expected, strict=True):
        found = decode(stored, size)
        assert (found.pixels == one.pixels).all() and found.lost == one.lost


def test_colour_in_one_strip_makes_the_image_coloured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flattening, "STRIP", 100)
    pixels = np.full((90, 10, 3), 7, np.uint8)
    pixels[85, 5] = 200, 10, 10
    Image.fromarray(pixels).save(tmp_path / "a.png")
    assert (decode(StoredImage(str(tmp_path / "a.png"))).pixels == pixels).all()


def test_threads_share_the_memory_bound() -> None:
    bound, together, most, lock = MemoryBound(100), 0, 0, threading.Lock()

    def work(size: int) -> None:
        nonlocal together, most
        with bound.reserve(size):
            with lock:
                together += min(size, 100)
                most = max(most, together)
            threading.Event().wait(0.01)
            with lock:
                together -= min(size, 100)

    threads = [threading.Thread(target=work, args=(size,)) for size in (60, 30, 500, 20, 70, 100, 10, 40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=10)
    assert not any(thread.is_alive() for thread in threads) and 60 <= most <= 100


def test_memory_is_returned_after_a_failure() -> None:
    bound = MemoryBound(10)
    for _ in range(3):
        with pytest.raises(ValueError), bound.reserve(10):
            raise ValueError
