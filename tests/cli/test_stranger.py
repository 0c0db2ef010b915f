"""The commands of the README and of the how-to pages, in their order, on a folder as people have it."""

import os
import re
import shlex
import subprocess
from pathlib import Path

import numpy as np
import pytest
from diffusers import DDPMPipeline
from PIL import Image

from nelbo.data.idx import find_fashion_mnist
from nelbo.errors import DataError
from tests.cli.conftest import TINY
from tests.cli.test_vae import SETTINGS as TINY_VAE
from tests.prose import complete_commands
from tests.wheel import installed_in, wheel_in

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
LEFT_OUT = ("import", "studio")  # one needs the network, and the other serves its page until it is stopped
TRAIN = "train --data ~/photos --size 32 --out runs/photos"
NOISE = "--unconditional --set parameterization=noise --set 'network.fourier=[]' --set 'network.slopes=[]'"
# Where the commands of a page begin, and what it takes for done.
PAGES: dict[str, tuple[str, list[str]]] = {
    "own-images": ("", []),
    "restoring": ("", [TRAIN]),
    "compressing": ("", [TRAIN]),
    "reading-the-bound": ("", [TRAIN]),
    "resuming": ("", []),
    "figures": (
        "",
        [
            TRAIN,
            "train --data toy:moons --out runs/moons",
            "train --data digits --preset vae-digits --out runs/vae",
        ],
    ),
    "samplers": ("## Sample a class with guidance", []),
    "travelling": (
        "",
        [
            TRAIN,
            f"train --data ~/photos --size 32 --out runs/plain {NOISE}",
            "export runs/plain --out ~/models/ddpm-cats",
        ],
    ),
}
LONGER = ["schedule.num_steps=100" if part == "schedule.num_steps=10" else part for part in TINY]
MINUTES_PER_STEP = 15  # of training: a budget of an hour becomes 4 steps


def noise(height: int, width: int, channels: int = 3, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, channels), dtype=np.uint8)


def messy(place: Path, num: int = 25) -> None:
    """Write `num` pictures, of every kind that people have, and files that are none."""
    (place / "cats").mkdir(parents=True, exist_ok=True)
    (place / "Hündchen 🐕").mkdir(exist_ok=True)
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
    for i in range(num - 9):
        Image.fromarray(noise(36 + i % 16, 40, seed=20 + i)).save((cats, dogs)[i % 2] / f"{i}.png")
    (cats / "broken.jpg").write_bytes((cats / "TALL.JPG").read_bytes()[:200])
    (cats / "empty.png").touch()
    (place / ".DS_Store").write_bytes(b"\0\0\0\1Bud1")
    (place / "notes.txt").write_text("about these pictures")


def commands() -> list[list[str]]:
    """Return the commands of the README's table in order, without `nelbo`."""
    table = README.partition("## Commands")[2].partition("\n## ")[0]
    lines = [line for line in re.findall(r"`(nelbo [^`]+)`", table) if " " in line and "<" not in line]
    found = [shlex.split(line)[1:] for line in lines]
    return [words for words in found if words[0] not in LEFT_OUT]


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
        if words[0] == "codec":
            continue  # takes minutes; tests/cli/test_codec.py runs it on a smaller model
        done = nelbo_cli(*smaller(words))
        assert done.code == 0, f"nelbo {shlex.join(words)}\n{done.err}"
        assert "Traceback" not in done.err
        if words[0] == "train":
            assert "broken.jpg" in done.err and "empty.png" in done.err
            assert "1 picture is left out, because nelbo does not read its format (.gif: 1)" in done.err
    scores = (stranger / "bits.csv").read_text(encoding="utf-8").splitlines()
    assert len(scores) == 1 + 25 and any("größe [1].tiff" in line for line in scores)


@pytest.mark.slow
def test_readme_commands_work_from_a_wheel(stranger: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also `nelbo codec`, and an export for diffusers that diffusers samples from."""
    nelbo = installed_in(stranger / "venv", wheel_in(stranger)) / "nelbo"
    environment = {**os.environ, "HOME": str(stranger), "COLUMNS": "400"}
    for words in [*commands(), ["export", "runs/photos", "--out", "plain"]]:
        done = subprocess.run(
            [nelbo, *smaller(words)], cwd=stranger, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"nelbo {shlex.join(words)}\n{done.stderr}"
        assert "Traceback" not in done.stderr
    monkeypatch.setattr("diffusers.utils.dynamic_modules_utils.HF_MODULES_CACHE", str(stranger / "modules"))
    pipeline = DDPMPipeline.from_pretrained(stranger / "plain", trust_remote_code=True)  # it knows two classes
    pipeline.set_progress_bar_config(disable=True)
    drawn = pipeline(num_inference_steps=2, output_type="np").images
    assert drawn.shape == (1, 32, 32, 3) and np.isfinite(drawn).all()


@pytest.fixture
def prepared(stranger: Path) -> Path:
    """Make the files that the pages name, and more photos: three of them are held out."""
    messy(stranger / "photos", num=60)
    messy(stranger / "new-photos")
    messy(stranger / "cifar10-test")
    Image.fromarray(noise(16, 16, seed=52)).save(stranger / "small.png")
    Image.fromarray(noise(40, 50, 1, seed=53)[..., 0]).save(stranger / "grey.png")
    Image.fromarray(noise(32, 32, seed=54)).save(stranger / "sketch.png")
    return stranger


def smaller(words: list[str]) -> list[str]:
    """Return a command with a smaller training; what needs the network is replaced by a local folder."""
    if words[0] == "codec":
        return [*words, "--steps", "20", "--images", "32"]
    if words[0] == "import":
        return ["~/models/ddpm-cats" if word.startswith("hf:") else word for word in words]
    if words[0] != "train":
        return words
    budget: list[str] = []
    if "--minutes" in words:
        place = words.index("--minutes")
        budget = ["--steps", str(round(float(words[place + 1]) / MINUTES_PER_STEP))]
        words = words[:place] + words[place + 2 :]
    if "--data" not in words:
        return [*words, *budget]
    if any(word.startswith("toy:") for word in words):
        settings = ("schedule.num_steps=300", "network.width=8", "network.depth=1", "training.warmup=1")
        return [*words, "--steps", "4", *(part for each in settings for part in ("--set", each))]
    if "vae-digits" in words:
        return [*words, "--steps", "4", *(part for each in TINY_VAE for part in ("--set", each))]
    return [*words, *LONGER]


def has_fashion_mnist() -> bool:
    try:
        find_fashion_mnist()
    except DataError:
        return False
    return True


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES)
def test_page_commands_work_in_sequence_on_a_messy_folder(nelbo_cli, quick_fit, prepared: Path, page: str) -> None:
    start, done_before = PAGES[page]
    text = (ROOT / "docs" / "how-to" / f"{page}.md").read_text(encoding="utf-8")
    assert start in text
    lines = complete_commands(text[text.index(start) :])
    assert lines
    for line in [*done_before, *lines]:
        words = shlex.split(line)
        if words[0] == "export" and words[-1].startswith("hf:"):
            continue  # needs the network
        if "interpolation fashion-mnist" in line and not has_fashion_mnist():
            continue
        done = nelbo_cli(*smaller(words))
        skipped = words[0] == "compress" and "skipped" in done.err  # such as grey pictures
        assert done.code == int(skipped), f"{page}: nelbo {line}\n{done.err}"
