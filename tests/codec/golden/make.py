"""Write missing golden files: `python -m tests.codec.golden.make`. Existing files stay as they are.

The models are a tiny one of the digits, one like it that has learned classes (most tests of the codec use it), a tiny
one of images in colour, fashion-mnist-v1 (the bundled model of nelbo 0.1.0) and the bundled fashion-mnist. Each file
stands beside the pixels that every later build must decode from it.
"""

import shutil
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from nelbo.codec import Bitstream, ProgressiveCodec, RawImage
from nelbo.data import load_data
from nelbo.files import read_metadata
from nelbo.runs import PLAN_FILE, DiffusionRun, load_as, read_config
from nelbo.runs.data_options import UNKNOWN_DATA
from tests.codec.conftest import TINY, colour_codec_run, ramps, tiny_codec_run

HERE = Path(__file__).parent
SMALL = {"network.base": 8, "training.steps": 200}


def main() -> None:
    """Write every golden file that is missing."""
    torch.set_num_threads(1)
    tiny = model("tiny", lambda folder: tiny_codec_run(folder / "run", {**TINY, **SMALL}))
    model("classes", lambda folder: tiny_codec_run(folder / "run"))
    colour = model("colour", lambda folder: colour_codec_run(folder, SMALL))
    digits = load_data("digits").require_test().images(range(4))
    wide = torch.cat([digits[0], digits[1], digits[2][:, :, :3]], 2)[:, :7]
    shirts = load_data("fashion-mnist").require_test().images(range(3))
    former = load_as(DiffusionRun, HERE / "fashion-mnist-v1", device="cpu").codec()
    bundled = load_as(DiffusionRun, "fashion-mnist", device="cpu")
    stored = read_metadata(bundled.folder / PLAN_FILE)["fingerprint"]
    bundled = bundled.codec(maker=bytes.fromhex(stored))  # and not its integer model
    keep("digit", tiny.encode([digits[0]])[0], tiny)
    keep("digit-effort-1", tiny.encode([digits[1]], effort=1)[0], tiny)
    keep("digit-effort-9", tiny.encode([digits[1]], effort=9)[0], tiny)
    keep("wide", tiny.encode([wide])[0], tiny)
    keep("lossy", tiny.encode([digits[3]], lossless=False)[0], tiny)
    keep("prefix", tiny.encode([digits[2]])[0].cut(28), tiny)
    keep("raw", RawImage(wide), tiny)
    keep("short", tiny.encode([wide])[0].first(50), tiny)
    checks = 16 * ((torch.arange(8) + torch.arange(8).unsqueeze(1)) % 2).byte().unsqueeze(0)
    keep("checks", tiny.encode([checks], effort=9, raw=False)[0], tiny)  # indices of more than 16 bits
    noise = np.random.default_rng(0).integers(0, 256, (3, 8, 8), dtype=np.uint8)
    for i, image in enumerate((ramps(1, 8, 8, seed=1)[0], ramps(1, 11, 13, seed=2)[0], noise)):
        keep(f"colour-{i}", colour.encode([torch.from_numpy(image)], raw=False)[0], colour)
    for i, shirt in enumerate(shirts):
        keep(f"fashion-{i}", former.encode([shirt])[0], former)
        keep(f"garment-{i}", bundled.encode([shirt])[0], bundled)


def model(name: str, make: Callable[[Path], DiffusionRun]) -> ProgressiveCodec:
    """Load a tiny model from this folder; if it is missing, train it and copy it here."""
    if not (HERE / name).exists():
        with tempfile.TemporaryDirectory() as folder:
            made = make(Path(folder)).folder
            (HERE / name).mkdir()
            for file in ("model.safetensors", "codec.safetensors"):
                shutil.copy(made / file, HERE / name / file)
            config = read_config(made)
            if config.data.spec != "digits":  # but a folder that will be gone
                config = replace(config, data=replace(config.data, spec=UNKNOWN_DATA))
            config.save(HERE / name)
    return load_as(DiffusionRun, HERE / name, device="cpu").codec()


def keep(name: str, file: Bitstream | RawImage, codec: ProgressiveCodec) -> None:
    """Write a file and its decoded pixels, unless the file exists."""
    if (HERE / f"{name}.nelbo").exists():
        return
    (HERE / f"{name}.nelbo").write_bytes(file.to_bytes())
    np.save(HERE / f"{name}.npy", codec.decode([file])[0].image.numpy())


if __name__ == "__main__":
    main()
