"""Write missing golden files of integer models: `python -m tests.codec.golden.make_integers`.

The model is a tiny one of the digits. Existing files stay as they are.
"""

from pathlib import Path

import numpy as np
import torch

from nelbo.codec import ProgressiveCodec
from nelbo.codec.archive_index import Member
from nelbo.codec.channel_fitting import fit_channel
from nelbo.data import load_data
from nelbo.runs import IntegerModel, packing
from tests.lattice.tiny import digits, trained_model

HERE = Path(__file__).parent / "integers"
IN_BLOCK = 200  # fewer images take less room without the model


def main() -> None:
    """Write every golden file that is missing."""
    torch.set_num_threads(1)
    HERE.mkdir(exist_ok=True)
    if not (HERE / "integers.safetensors").exists():
        model = trained_model()
        IntegerModel(model, fit_channel(model, digits(64))).save(HERE)
    found = IntegerModel.load(HERE)
    codec, images = found.codec(), load_data("digits").require_test().images(range(240))
    wide = torch.cat([images[0], images[1], images[2][:, :, :3]], 2)[:, :7]
    keep("digit", codec.encode([images[0]], raw=False)[0].to_bytes(), codec)
    keep("effort-1", codec.encode([images[1]], effort=1, raw=False)[0].to_bytes(), codec)
    keep("effort-9", codec.encode([images[1]], effort=9, raw=False)[0].to_bytes(), codec)
    keep("wide", codec.encode([wide], raw=False)[0].to_bytes(), codec)
    keep("lossy", codec.encode([images[3]], lossless=False)[0].to_bytes(), codec)
    keep("prefix", codec.encode([images[2]], raw=False)[0].cut(26).to_bytes(), codec)
    archive = HERE / "digits.nelbos"
    if not archive.exists():
        packing.MOST_IN_BLOCK = IN_BLOCK
        members = [(Member(f"{i % 3}/{i}.png", 8, 8, None, 10**9 + i), image) for i, image in enumerate(images)]
        packing.pack(members, found.archive_codec(), archive)


def keep(name: str, content: bytes, codec: ProgressiveCodec) -> None:
    """Write a file and the pixels that it decodes to, unless it exists."""
    if not (HERE / f"{name}.nelbo").exists():
        (HERE / f"{name}.nelbo").write_bytes(content)
        np.save(HERE / f"{name}.npy", codec.decode_bytes(content).image.numpy())


if __name__ == "__main__":
    main()
