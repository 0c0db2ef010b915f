"""Write the golden files of this version: `python -m tests.codec.golden.make`. Never run it over old ones.

A tiny model of the digits and the bundled fashion-mnist model; each file beside the pixels that it must give for ever.
"""

import shutil
import tempfile
from pathlib import Path

import numpy as np
import torch

import nelbo
from nelbo.codec import Bitstream, RawImage
from nelbo.config import DiffusionRun, load_as
from nelbo.data import load_data
from tests.codec.conftest import TINY, tiny_codec_run

HERE = Path(__file__).parent


def main() -> None:
    """Make them."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        made = tiny_codec_run(Path(folder) / "tiny", {**TINY, "network.base": 8, "training.steps": 200}).folder
        (HERE / "tiny").mkdir()
        for name in ("config.json", "model.safetensors", "codec.safetensors"):
            shutil.copy(made / name, HERE / "tiny" / name)
    digits = load_data("digits").require_test().images(range(4))
    wide = torch.cat([digits[0], digits[1], digits[2][:, :, :3]], 2)[:, :7]
    tiny = load_as(DiffusionRun, HERE / "tiny").codec()
    shirts = load_data("fashion-mnist").require_test().images(range(3))
    shown = nelbo.load("fashion-mnist").codec()
    keep("digit", tiny.encode([digits[0]])[0])
    keep("digit-effort-1", tiny.encode([digits[1]], effort=1)[0])
    keep("digit-effort-9", tiny.encode([digits[1]], effort=9)[0])
    keep("wide", tiny.encode([wide])[0])
    keep("lossy", tiny.encode([digits[3]], lossless=False)[0], tiny)
    keep("prefix", tiny.encode([digits[2]])[0].cut(28), tiny)
    keep("raw", RawImage(wide))
    for i, shirt in enumerate(shirts):
        keep(f"fashion-{i}", shown.encode([shirt])[0], shown)


def keep(name: str, file: Bitstream | RawImage, codec=None) -> None:
    """A file, and what it gives."""
    (HERE / f"{name}.nelbo").write_bytes(file.to_bytes())
    codec = codec or load_as(DiffusionRun, HERE / "tiny").codec()
    np.save(HERE / f"{name}.npy", codec.decode([file])[0].image.numpy())


if __name__ == "__main__":
    main()
