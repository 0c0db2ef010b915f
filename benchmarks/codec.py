"""Bytes on disk against the bound, and previews against JPEG and WebP, on held-out fashion-mnist images.

    python -m benchmarks.codec [--num 200] [--model fashion-mnist] [--out benchmarks/codec] [--quick]

Every file is decoded in fresh processes, in the ways of `benchmarks.exactness`; pixels must come out exactly each time.
The curves are means over the images: RMSE on the scale of the levels against the bytes used.
"""

import argparse
import json
import sys
import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

import nelbo
from benchmarks.exactness import decoded_in_every_way
from nelbo.codec import Bitstream, ProgressiveCodec, RawImage, report_files, rmse
from nelbo.config import DiffusionRun, held_out_part, load_as
from nelbo.evaluation import CodecPoint, available_codecs, codec_curve
from nelbo.plots import codec_curves, save

SHARES = (0.1, 0.25, 0.5, 0.75)


def previews(codec: ProgressiveCodec, files: list[Bitstream], images: Tensor) -> list[dict[str, float]]:
    """Mean RMSE at shares of each file."""
    rows = []
    for share in SHARES:
        cut = [file.first(int(share * len(file.to_bytes()))) for file in files]
        found = codec.decode(cut)
        errors = [rmse(each.image, image) for each, image in zip(found, images, strict=True)]
        used = sum(len(file.message) + file.overhead for file in cut) / len(cut)
        rows.append({"share": share, "bytes": used, "rmse": sum(errors) / len(errors)})
    return rows


def others(images: Tensor) -> dict[str, list[CodecPoint]]:
    """The curves of JPEG and WebP (and JPEG XL), and what each lossless format takes."""
    return {name: codec_curve(name, images) for name in available_codecs()}


def beside(bytes_used: float, points: list[CodecPoint], num_dims: int) -> float | None:
    """The RMSE that a format reaches at so many bytes, by straight lines; None where it cannot be so small."""
    pairs = sorted((point.bits_per_dim * num_dims / 8, point.rmse) for point in points)
    if bytes_used < pairs[0][0]:
        return None
    return float(np.interp(bytes_used, [size for size, _ in pairs], [error for _, error in pairs]))


def timings(codec: ProgressiveCodec, images: Tensor) -> list[dict[str, float]]:
    """Seconds an image to encode (unverified) and decode, by effort and number of images together."""
    rows = []
    for effort in (1, 5, 9):
        for together in (1, min(64, len(images))):
            some = list(images[:together])
            start = time.perf_counter()
            files = codec.encode(some, effort=effort, verify=False)
            middle = time.perf_counter()
            codec.decode(files)
            end = time.perf_counter()
            size = 8 * sum(len(file.to_bytes()) for file in files) / (together * images[0].numel())
            rows.append(
                {
                    "effort": effort,
                    "images": together,
                    "encode": (middle - start) / together,
                    "decode": (end - middle) / together,
                    "bits_per_dim": size,
                }
            )
            print(rows[-1], file=sys.stderr, flush=True)
    return rows


def main() -> None:
    """Measure, print, and write what was found."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.codec", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--num", type=int, default=200)
    parser.add_argument("--model", default="fashion-mnist")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/codec"))
    parser.add_argument("--quick", action="store_true", help="4 images, no timings: does it work?")
    options = parser.parse_args()
    num = 4 if options.quick else options.num
    run = load_as(DiffusionRun, options.model)
    held_out = held_out_part(run)
    images = held_out.spread(num).images(range(num))
    codec = run.codec()

    files = codec.encode(list(images), verify=False)
    exact = decoded_in_every_way(files, images, options.model)

    report = report_files(codec, files, images, run.bound(images, steps_per_image=32).total)
    streams = [file for file in files if isinstance(file, Bitstream)]
    kept = torch.stack([image for image, file in zip(images, files, strict=True) if not isinstance(file, RawImage)])
    num_dims = images[0].numel()
    curves, rows = others(images), previews(codec, streams, kept)
    for row in rows:
        row |= {name: beside(row["bytes"], points, num_dims) for name, points in curves.items()}  # type: ignore[misc]
    record = {
        "version": nelbo.__version__,
        "model": options.model,
        "model_bytes": sum(path.stat().st_size for path in run.folder.glob("*.safetensors")),
        "images": f"{num} of {len(held_out)} held out, evenly spread",
        "exact": exact,
        "report": report.to_json(),
        "previews": rows,
        "others": {name: [vars(point) for point in points] for name, points in curves.items()},
        "seconds": [] if options.quick else timings(codec, images),
    }
    print(json.dumps({key: record[key] for key in ("report", "previews")}, indent=2))
    options.out.mkdir(parents=True, exist_ok=True)
    measured = [(row["bytes"], row["rmse"]) for row in rows]
    theirs = {
        name: [(point.bits_per_dim * num_dims / 8, point.rmse) for point in points] for name, points in curves.items()
    }
    save(codec_curves(measured, report.total * num_dims / 8, theirs), options.out / "curves.png")
    (options.out / "codec.json").write_text(json.dumps(record, indent=2) + "\n")


if __name__ == "__main__":
    main()
