"""`nelbo codec --integers`, `pack`, `unpack` and `list`."""

import contextlib
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from nelbo.data import load_data
from nelbo.lattice import sizes
from nelbo.runs import packing
from nelbo.runs.archive import Archive
from nelbo.runs.integer_model import INTEGER_FILE
from tests.lattice.tiny import tiny_integer_model


@pytest.fixture
def model(with_codec, tmp_path) -> Path:
    """A run on digits of 17 levels that can pack."""
    folder = Path(shutil.copytree(with_codec, tmp_path / "runs" / "digits"))
    tiny_integer_model().save(folder)
    return folder


@pytest.fixture
def folder(tmp_path) -> Path:
    """Twenty digits in two classes, an image in colour and a broken one."""
    for i, image in enumerate(load_data("digits").require_test().images(range(20))):
        place = tmp_path / "photos" / ("even" if i % 2 == 0 else "odd")
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image[0].numpy()).save(place / f"{i:02d}.png")
        os.utime(place / f"{i:02d}.png", (10**9 + i, 10**9 + i))
    colour = np.random.default_rng(0).integers(0, 255, (8, 8, 3), dtype=np.uint8)
    Image.fromarray(colour).save(tmp_path / "photos" / "odd" / "colour.png")
    (tmp_path / "photos" / "odd" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nno image")
    return tmp_path / "photos"


def pixels_of(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path))


def test_folder_comes_back(nelbo_cli, model, folder, tmp_path):
    packed = nelbo_cli("pack", folder, "-m", model, "-o", "a.nelbos")
    assert packed.code == 1  # two were skipped
    assert "20 images in 1 block" in packed.out and "bits/dim" in packed.out
    assert (
        "skipped" in packed.err
        and "colour.png" in packed.err
        and "in colour, and the model's images are grey" in packed.err
    )
    back = nelbo_cli("unpack", "a.nelbos", "-o", "back")
    assert back.code == 0 and "unpacked 20 images" in back.out
    for path in sorted(folder.glob("*/[0-9]*.png")):
        again = tmp_path / "back" / path.relative_to(folder)
        assert np.array_equal(pixels_of(again), pixels_of(path))
        assert int(again.stat().st_mtime) == int(path.stat().st_mtime)
    kept = nelbo_cli("unpack", "a.nelbos", "-o", "back", "-m", model)
    assert kept.code == 0 and "20 of 20 images exist already" in kept.err


def test_archive_is_listed(nelbo_cli, model, folder):
    nelbo_cli("pack", folder, "-m", model, "-o", "a.nelbos")
    listed = nelbo_cli("list", "a.nelbos")
    assert listed.code == 0 and "even/00.png" in listed.out and "8 x 8" in listed.out
    plain = json.loads(nelbo_cli("list", "a.nelbos", "--json", "-").out)
    assert plain["complete"] and len(plain["images"]) == 20
    assert plain["images"][0] == {
        "path": "even/00.png",
        "name": "even/00.png",
        "height": 8,
        "width": 8,
        "label": None,
        "time": 10**9,
    }


def test_one_image_of_an_archive(nelbo_cli, model, folder, tmp_path):
    nelbo_cli("pack", folder, "-m", model, "-o", "a.nelbos")
    assert nelbo_cli("unpack", "a.nelbos", "-o", "one", "--only", "odd/03.png").code == 0
    assert [path.name for path in (tmp_path / "one").rglob("*.png")] == ["03.png"]
    wrong = nelbo_cli("unpack", "a.nelbos", "-o", "one", "--only", "odd/3.png")
    assert wrong.code == 2 and "has no image odd/3.png" in wrong.err and "nelbo list" in wrong.err


def test_classes_of_a_built_in_set_become_folders(nelbo_cli, model, tmp_path):
    assert nelbo_cli("pack", "digits", "-m", model, "-o", "a.nelbos", "--num", 12).code == 0
    assert nelbo_cli("unpack", "a.nelbos", "-o", "back").code == 0
    dataset = load_data("digits").require_test().spread(12)
    for i in range(12):
        name = dataset.class_names[int(dataset.labels[i])]
        assert np.array_equal(pixels_of(tmp_path / "back" / name / f"{i:05d}.png"), dataset.images([i])[0, 0].numpy())


def test_other_images_are_not_replaced(nelbo_cli, model, folder, tmp_path):
    nelbo_cli("pack", folder, "-m", model, "-o", "a.nelbos")
    (tmp_path / "back" / "even").mkdir(parents=True)
    Image.new("L", (8, 8)).save(tmp_path / "back" / "even" / "00.png")
    refused = nelbo_cli("unpack", "a.nelbos", "-o", "back")
    assert refused.code == 2 and "exists already and is another image" in refused.err


def test_nothing_is_written_through_a_link(nelbo_cli, model, folder, tmp_path):
    nelbo_cli("pack", folder, "-m", model, "-o", "a.nelbos")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "back").mkdir()
    (tmp_path / "back" / "even").symlink_to(tmp_path / "elsewhere")
    refused = nelbo_cli("unpack", "a.nelbos", "-o", "back")
    assert refused.code == 2 and "is a link" in refused.err
    assert not list((tmp_path / "elsewhere").iterdir())


def test_damaged_block_loses_its_images_only(nelbo_cli, model, folder, tmp_path, monkeypatch):
    monkeypatch.setattr(packing, "MOST_IN_BLOCK", 7)
    nelbo_cli("pack", folder, "-m", model, "-o", "a.nelbos")
    content = bytearray((tmp_path / "a.nelbos").read_bytes())
    block = Archive.open(tmp_path / "a.nelbos").contents.blocks[1]
    content[block.place + 3] ^= 1
    (tmp_path / "a.nelbos").write_bytes(content)
    back = nelbo_cli("unpack", "a.nelbos", "-o", "back")
    assert back.code == 2 and "block 1 of the archive is damaged" in back.err and "unpacked 13 images" in back.out
    (tmp_path / "b.nelbos").write_bytes(content[: block.place])
    cut = nelbo_cli("unpack", "b.nelbos", "-o", "cut")
    assert cut.code == 2 and "cut short or damaged" in cut.err and "unpacked 7 images" in cut.out
    assert nelbo_cli("list", "b.nelbos").code == 1


def test_mistakes_are_one_sentence(nelbo_cli, model, folder, with_codec, tmp_path):
    assert "must end in .nelbos" in nelbo_cli("pack", folder, "-m", model, "-o", "a.zip").err
    assert "nelbo codec --integers" in nelbo_cli("pack", folder, "-m", with_codec, "-o", "a.nelbos").err
    assert "cannot be read: No such file" in nelbo_cli("unpack", "none.nelbos", "-o", "x").err
    (tmp_path / "x.nelbos").write_bytes(b"text")
    assert "not an archive" in nelbo_cli("list", "x.nelbos").err
    nelbo_cli("pack", folder, "-m", model, "-o", "a.nelbos")
    assert "exists already" in nelbo_cli("pack", folder, "-m", model, "-o", "a.nelbos").err
    (model / INTEGER_FILE).unlink()
    assert "fingerprint" in nelbo_cli("unpack", "a.nelbos", "-o", "x").err
    assert "add --integers" in nelbo_cli("codec", model, "--minutes", 3).err


@pytest.fixture
def small_networks(monkeypatch):
    monkeypatch.setattr(sizes, "WIDTHS", (8, 8, 8))
    monkeypatch.setattr(sizes, "BOTTOM", 1)
    monkeypatch.setattr(sizes, "HIDDEN", 8)
    monkeypatch.setattr(sizes, "BLOCKS", 1)


@pytest.mark.usefixtures("small_networks")
def test_model_is_trained_and_packs(nelbo_cli, with_codec, folder, tmp_path):
    run = Path(shutil.copytree(with_codec, tmp_path / "mine"))
    trained = nelbo_cli("codec", run, "--integers", "--minutes", 0.05)
    assert trained.code == 0 and "can pack and compress now" in trained.out
    name = next(folder.glob("even/*.png"))
    assert nelbo_cli("compress", name, "-m", run, "-o", "a.nelbo").code == 0
    assert (tmp_path / "a.nelbo").read_bytes()[1] & 0x80  # of version 2
    assert nelbo_cli("decompress", "a.nelbo", "-o", "a.png", "-m", run).code == 0
    assert np.array_equal(pixels_of(tmp_path / "a.png"), pixels_of(name))
    assert f"x_{sizes.STEPS}" in nelbo_cli("inspect", "a.nelbo", "-m", run).out
    assert nelbo_cli("pack", folder, "-m", run, "-o", "a.nelbos").code == 1
    assert nelbo_cli("unpack", "a.nelbos", "-o", "back", "-m", run).code == 0
    again = nelbo_cli("codec", run, "--integers", "--minutes", 0.05)
    assert again.code == 2 and "--again replaces it" in again.err


PACK = """
import sys
from nelbo.runs import packing
packing.MOST_IN_BLOCK = 8
from nelbo.cli import main
main()
"""


@pytest.mark.slow
def test_killed_pack_continues_where_it_was(model, tmp_path):
    """SIGKILL at 20 random moments; the archive equals one that was never killed."""
    for i, image in enumerate(load_data("digits").train.images(range(400))):
        (tmp_path / "many").mkdir(exist_ok=True)
        Image.fromarray(image[0].numpy()).save(tmp_path / "many" / f"{i:03d}.png")
        os.utime(tmp_path / "many" / f"{i:03d}.png", (10**9, 10**9))

    def packing_into(name: str) -> subprocess.Popen:
        words = ["pack", tmp_path / "many", "-m", model, "-o", tmp_path / name]
        return subprocess.Popen([sys.executable, "-c", PACK, *map(str, words)], stderr=subprocess.DEVNULL)

    start = time.monotonic()
    assert packing_into("whole.nelbos").wait() == 0
    whole, generator = time.monotonic() - start, np.random.default_rng(0)
    for _ in range(20):
        process = packing_into("a.nelbos")
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(whole * generator.uniform(0.2, 0.9))
        process.kill()
        process.wait()
        if (tmp_path / "a.nelbos").exists():
            assert (tmp_path / "a.nelbos").read_bytes() == (tmp_path / "whole.nelbos").read_bytes()
            (tmp_path / "a.nelbos").unlink()
    assert packing_into("a.nelbos").wait() == 0
    assert (tmp_path / "a.nelbos").read_bytes() == (tmp_path / "whole.nelbos").read_bytes()


def test_run_with_a_plan_and_an_integer_model(nelbo_cli, with_codec, folder, tmp_path):
    """Each file is read by the model that made it, also if the other one is damaged."""
    run, image = Path(shutil.copytree(with_codec, tmp_path / "both")), next(folder.glob("even/*.png"))
    words = ("compress", image, "-m", run, "--lossy-only", "-o")
    assert nelbo_cli(*words, "before.nelbo").code == 0
    parts = nelbo_cli("inspect", "before.nelbo", "-m", run).out
    tiny_integer_model().save(run)
    by_integers = nelbo_cli(*words, "integers.nelbo")
    assert by_integers.code == 0 and "coding with the integer model" in by_integers.err
    assert nelbo_cli(*words, "again.nelbo", "--no-integers").code == 0
    before, integers, again = ((tmp_path / f"{name}.nelbo").read_bytes() for name in ("before", "integers", "again"))
    assert before == again and before[1] == 0x61 and integers[1] & 0x80
    for name in ("before", "integers"):
        assert nelbo_cli("decompress", f"{name}.nelbo", "-o", f"{name}.png", "-m", run).code == 0
    assert nelbo_cli("inspect", "before.nelbo", "-m", run).out == parts
    assert "x_4" in nelbo_cli("inspect", "integers.nelbo", "-m", run).out
    (run / INTEGER_FILE).write_bytes(b"damage")
    assert nelbo_cli("decompress", "before.nelbo", "-o", "c.png", "-m", run).code == 0
    refused = nelbo_cli("decompress", "integers.nelbo", "-o", "d.png", "-m", run)
    assert refused.code == 2 and "made by the model" in refused.err
    broken = nelbo_cli("compress", image, "-m", run, "-o", "e.nelbo")
    assert broken.code == 2 and INTEGER_FILE in broken.err


def test_integer_model_decodes_without_the_network(nelbo_cli, model, folder, tmp_path):
    image = next(folder.glob("even/*.png"))
    assert nelbo_cli("compress", image, "-m", model, "--lossy-only", "-o", "a.nelbo").code == 0
    (model / "model.safetensors").unlink()
    assert nelbo_cli("decompress", "a.nelbo", "-o", "a.png").code == 0
    assert "x_4" in nelbo_cli("inspect", "a.nelbo").out
