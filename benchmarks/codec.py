"""File sizes against the bound, and previews against JPEG and WebP, on held-out fashion-mnist images.

    python -m benchmarks.codec [--num 200] [--model fashion-mnist] [--out benchmarks/codec] [--quick]
    python -m benchmarks.codec --seconds

Every file is decoded in fresh processes, in each of the ways of `benchmarks.exactness`, and the number of exact images
is recorded. The curves are means over the images: RMSE in levels against the bytes used. `--seconds` measures times
only, and writes them to a separate file; run it on an otherwise idle machine.
"""

import argparse
import cProfile
import json
import pstats
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

import nelbo
from benchmarks import photograph
from benchmarks.exactness import decoded_in_every_way
from nelbo.codec import Bitstream, ProgressiveCodec, RawImage, report_files, rmse
from nelbo.evaluation import CodecPoint, available_codecs, codec_curve
from nelbo.plots import codec_curves, save
from nelbo.runs import DiffusionRun, load_as
from nelbo.studies import held_out_part

SHARES = (0.1, 0.25, 0.5, 0.75)


def previews(codec: ProgressiveCodec, files: list[Bitstream], images: Tensor) -> list[dict[str, float]]:
    """Return the mean RMSE of the pictures from the first bytes of each file, at each of `SHARES`."""
    rows = []
    for share in SHARES:
        cut = [file.first(int(share * len(file.to_bytes()))) for file in files]
        found = codec.decode(cut)
        errors = [rmse(each.image, image) for each, image in zip(found, images, strict=True)]
        used = sum(len(file.message) + file.overhead for file in cut) / len(cut)
        rows.append({"share": share, "bytes": used, "rmse": sum(errors) / len(errors)})
    return rows


def others(images: Tensor) -> dict[str, list[CodecPoint]]:
    """Return the curves of JPEG, WebP and, if installed, JPEG XL."""
    return {name: codec_curve(name, images) for name in available_codecs()}


def exact_elsewhere(images: Tensor) -> dict[str, float]:
    """Return the mean size of an image in each lossless format, in bytes."""
    each = [photograph.others(Image.fromarray(image[0].numpy())) for image in images]
    return {name: sum(sizes[name] for sizes in each) / len(each) for name in each[0]}


def beside(bytes_used: float, points: list[CodecPoint], num_dims: int) -> float | None:
    """Interpolate the RMSE of a format at a size in bytes; None below its smallest size."""
    pairs = sorted((point.bits_per_dim * num_dims / 8, point.rmse) for point in points)
    if bytes_used < pairs[0][0]:
        return None
    return float(np.interp(bytes_used, [size for size, _ in pairs], [error for _, error in pairs]))


PARTS = {
    "network": "predictions",
    "channel": "choose regenerate",
    "end": "mixture_of cumulative",
    "coder": "range_coder",
}


def timings(codec: ProgressiveCodec, images: Tensor) -> list[dict[str, Any]]:
    """Measure the seconds per image to encode (unverified) and decode, by effort and batch size, and where they go.

    Single images are the median of 5, and 64 together are timed once. The shares come from another run under the
    profiler, which slows Python code more than the libraries.
    """
    codec.decode(codec.encode(list(images[:1]), effort=1, verify=False))  # warm
    rows = []
    for effort in (1, 5, 9):
        encode = partial(codec.encode, effort=effort, verify=False)
        for together, times in ((1, 5), (min(64, len(images)), 1)):
            groups = [list(images[i * together : (i + 1) * together]) for i in range(times)]
            sent = [clocked(encode, group) for group in groups]
            back = [clocked(codec.decode, files) for _, files in sent]
            size = 8 * sum(len(file.to_bytes()) for _, files in sent for file in files)
            row = {
                "effort": effort,
                "images": together,
                "encode": statistics.median(seconds for seconds, _ in sent) / together,
                "decode": statistics.median(seconds for seconds, _ in back) / together,
                "bits_per_dim": size / (together * times * images[0].numel()),
                "encode_shares": shares(encode, groups[0]),
                "decode_shares": shares(codec.decode, sent[0][1]),
            }
            rows.append(row)
            print(json.dumps(row), flush=True)
    return rows


def clocked(work: Callable[[Any], Any], given: Any) -> tuple[float, Any]:
    """Call `work`, and return the seconds that it took and its result."""
    began = time.perf_counter()
    found = work(given)
    return time.perf_counter() - began, found


def shares(work: Callable[[Any], Any], given: Any) -> dict[str, float]:
    """Return the share of the time in each of `PARTS`: within its functions, or in the code of its file."""
    profile = cProfile.Profile()
    profile.runcall(work, given)
    calls: dict[tuple[str, int, str], Any] = pstats.Stats(profile).stats  # type: ignore[attr-defined]
    whole = sum(own for _, _, own, _, _ in calls.values())
    spent = dict.fromkeys(PARTS, 0.0)
    for (path, _, function), (_, _, own, within, _) in calls.items():
        for part, names in PARTS.items():
            if function in names.split():
                spent[part] += within / whole
            elif Path(path).stem == names:
                spent[part] += own / whole
    return spent


def main() -> None:
    """Measure, print and write the record and the figure."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.codec", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--num", type=int, default=200, help="Number of images.")
    parser.add_argument("--model", default="fashion-mnist", help="A run folder or a bundled model.")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/codec"), help="Folder for the results.")
    parser.add_argument("--quick", action="store_true", help="Use 4 images, to test the benchmark itself.")
    parser.add_argument("--seconds", action="store_true", help="Measure only times.")
    options = parser.parse_args()
    num = 4 if options.quick else options.num
    run = load_as(DiffusionRun, options.model)
    held_out = held_out_part(run)
    images = held_out.spread(num).images(range(num))
    codec = run.codec()
    options.out.mkdir(parents=True, exist_ok=True)
    if options.seconds:
        rows = timings(codec, images)
        (options.out / "seconds.json").write_text(json.dumps(rows, indent=2) + "\n")
        return

    files = codec.encode(list(images), verify=False)
    exact = decoded_in_every_way(files, images, options.model)

    bound = None if codec.chain.exact else run.bound(images, steps_per_image=32).total
    report = report_files(codec, files, images, bound)
    streams = [file for file in files if isinstance(file, Bitstream)]
    kept = torch.stack([image for image, file in zip(images, files, strict=True) if not isinstance(file, RawImage)])
    num_dims = images[0].numel()
    curves, rows = others(images), previews(codec, streams, kept)
    for row in rows:
        row |= {name: beside(row["bytes"], points, num_dims) for name, points in curves.items()}  # type: ignore[misc]
    record: dict[str, Any] = {
        "version": nelbo.__version__,
        "model": options.model,
        "model_bytes": sum(path.stat().st_size for path in run.folder.glob("*.safetensors")),
        "images": f"{num} of {len(held_out)} held out, evenly spread",
        "exact": exact,
        "report": report.to_json(),
        "previews": rows,
        "others": {name: [vars(point) for point in points] for name, points in curves.items()},
        "exact_elsewhere": exact_elsewhere(images),
    }
    print(json.dumps({key: record[key] for key in ("report", "previews")}, indent=2))
    measured = [(row["bytes"], row["rmse"]) for row in rows]
    theirs = {
        name: [(point.bits_per_dim * num_dims / 8, point.rmse) for point in points] for name, points in curves.items()
    }
    figure = codec_curves(measured, report.total * num_dims / 8, theirs, record["exact_elsewhere"])
    save(figure, options.out / "curves.png")
    (options.out / "codec.json").write_text(json.dumps(record, indent=2) + "\n")


if __name__ == "__main__":
    main()
