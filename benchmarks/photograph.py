"""Compress a colour photograph with a model of crops of photographs, and compare with PNG, WebP and JPEG XL.

    python -m benchmarks.photograph crops PHOTOS OUT [--leave-out Garden.jpg]
    nelbo train --data OUT --out runs/crops --minutes 60 --set training.flip=true
    nelbo codec runs/crops
    python -m benchmarks.photograph compare runs/crops Garden.jpg --out benchmarks/photograph

`crops` scales each photograph but one to widths of 500 to 1,000 pixels, and cuts random squares of 32 x 32 pixels from
it. `compare` scales the remaining photograph to 500 x 333, compresses it in a fresh process, decodes it in another, and
measures the previews from the first 10%, 25% and 50% of the file. JPEG XL is included if pillow-jxl-plugin is
installed. There are no previews if the codec stored the pixels without the model, because its file would be larger.
"""

import argparse
import io
import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from PIL import Image

from nelbo.codec import Bitstream, RawImage
from nelbo.evaluation import available_codecs

SIDE, WIDTHS, CROPS = 32, (500, 640, 800, 1000), 450  # pixels, pixels, and crops of a photograph at each width
SIZE, SHARES = (500, 333), (10, 25, 50)


def crops(photos: Path, out: Path, leave_out: str) -> None:
    """Write random squares of every photograph but one as PNG files."""
    out.mkdir(parents=True, exist_ok=True)
    generator, count = np.random.default_rng(0), 0
    for path in sorted(path for path in photos.iterdir() if path.name != leave_out):
        photo = Image.open(path).convert("RGB")
        for width in WIDTHS:
            height = round(width * photo.height / photo.width)
            pixels = np.asarray(photo.resize((width, height), Image.Resampling.LANCZOS))
            for _ in range(CROPS):
                y, x = generator.integers(0, height - SIDE + 1), generator.integers(0, width - SIDE + 1)
                Image.fromarray(pixels[y : y + SIDE, x : x + SIDE]).save(out / f"{count:05d}.png")
                count += 1
    print(f"{count} crops in {out}")


def scaled(path: Path) -> Image.Image:
    """Crop the middle of a photograph to the aspect ratio of `SIZE`, and scale it to that size."""
    photo = Image.open(path).convert("RGB")
    width = min(photo.width, int(photo.height * SIZE[0] / SIZE[1]))
    left = (photo.width - width) // 2
    return photo.crop((left, 0, left + width, photo.height)).resize(SIZE, Image.Resampling.LANCZOS)


def others(photo: Image.Image) -> dict[str, int]:
    """Return the size of an image in each lossless format, in bytes."""
    settings = {
        "PNG": {"optimize": True},
        "WEBP": {"lossless": True, "quality": 100, "method": 6},
        "JXL": {"lossless": True, "effort": 9},
    }
    found = {}
    for name, options in settings.items():
        if name == "PNG" or name in available_codecs():
            file = io.BytesIO()
            photo.save(file, name, **options)  # type: ignore[arg-type]
            found[name] = file.tell()
    return found


def compare(run: str, path: Path, out: Path) -> None:
    """Compress, decode and preview a photograph, each in its own process, and write the record."""
    out.mkdir(parents=True, exist_ok=True)
    photo, original, file = scaled(path), out / "photograph.png", out / "photograph.nelbo"
    photo.save(original)

    def timed(*command: str) -> float:
        began = time.perf_counter()
        subprocess.run([sys.executable, "-m", "nelbo", *command], check=True)
        return time.perf_counter() - began

    encoding = timed("compress", str(original), "-m", run, "-o", str(file))
    decoding = timed("decompress", str(file), "-m", run, "-o", str(out / "back.png"))
    exact = bool(np.array_equal(np.asarray(photo), np.asarray(Image.open(out / "back.png"))))
    size, pixels = file.stat().st_size, np.asarray(photo, dtype=np.float64)
    packed = isinstance(Bitstream.from_bytes(file.read_bytes()), RawImage)
    previews = []
    for share in () if packed else SHARES:  # the first bytes of packed pixels give no picture
        seen = out / f"preview-{share}.png"
        timed("decompress", str(file), "-m", run, "-o", str(seen), "--bytes", str(size * share // 100))
        error = np.asarray(Image.open(seen).convert("RGB"), dtype=np.float64) - pixels
        previews.append({"share": share, "bytes": size * share // 100, "rmse": float(np.sqrt((error**2).mean()))})
    record = {
        "exact": exact,
        "packed_pixels": packed,
        "bytes": size,
        "bits_per_dim": 8 * size / pixels.size,
        "others": others(photo),
        "previews": previews,
        "seconds": {"encode": encoding, "decode": decoding},
    }
    (out / "photograph.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(record, indent=1))


def main() -> None:
    """Run the command `crops` or `compare`."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.photograph", description=(__doc__ or "").split("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    cutting = commands.add_parser("crops", help="Cut photographs into training images.")
    cutting.add_argument("photos", type=Path, help="Folder of photographs.")
    cutting.add_argument("out", type=Path, help="Folder for the crops.")
    cutting.add_argument("--leave-out", default="", help="File name of the photograph to leave out.")
    comparing = commands.add_parser("compare", help="Compress one photograph and compare.")
    comparing.add_argument("run", help="Run folder of the model.")
    comparing.add_argument("photo", type=Path, help="The photograph.")
    comparing.add_argument("--out", type=Path, default=Path("benchmarks/photograph"), help="Folder for the results.")
    options = parser.parse_args()
    if options.command == "crops":
        crops(options.photos, options.out, options.leave_out)
    else:
        compare(options.run, options.photo, options.out)


if __name__ == "__main__":
    main()
