"""Train the model of photographs, and compare its files with PNG, WebP and JPEG XL on photographs that it never saw.

    apt-get install mate-backgrounds plasma-workspace-wallpapers lomiri-wallpapers-16.04 lomiri-wallpapers-20.04
    python -m benchmarks.photograph crops OUT/crops
    python -m benchmarks.photograph train OUT/crops OUT/photographs --minutes 50
    python -m benchmarks.photograph compare --model OUT/photographs --out benchmarks/photograph

`crops` scales each photograph but the held-out ones to sides of 420 to 1,600 pixels, and cuts random squares of 128
pixels from it, turned at random. `train` can be stopped and repeated. `compare` scales the held-out photographs to 500
x 333 pixels, compresses each in a fresh process, decodes it in another, and measures the pictures from the first 10%,
25% and 50% of the file. Without --model, it takes the bundled one. JPEG XL needs pillow-jxl-plugin.
"""

import argparse
import io
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from nelbo.data import load_data
from nelbo.evaluation import available_codecs
from nelbo.progress import bars
from nelbo.runs import MaskingRun
from nelbo.studies import Listener
from nelbo.studies.masking_training import train_masking_model

BACKGROUNDS, WALLPAPERS = Path("/usr/share/backgrounds"), Path("/usr/share/wallpapers")
PHOTOGRAPHS = {
    BACKGROUNDS / "mate" / "nature": """
        Aqua Blinds Dune FreshFlower Garden GreenMeadow LadyBird RainDrops Storm TwoWings Wood YellowFlower""",
    WALLPAPERS: "BytheWater ColorfulCups EveningGlow FallenLeaf Kite ColdRipple DarkestHour OneStandsOut Path",
    BACKGROUNDS: """
        Bridge_by_Sander_Klootwijk Dragonfly_by_Bolly Kleiber_by_Lukas_Baubkus Picture_0B_by_freespace
        Picture_1A_by_freespace Wine_by_Jakkub_Mede aitzgorri_by_Aitzol_Berasategi free_by_Peter_Nerlich
        friends_by_Aitzol_Berasategi greentock_by_Peter_Nerlich life_by_Aitzol_Berasategi
        picosdeeuropa_by_Aitzol_Berasategi seeding_by_Clements_Engelhardt sunset_by_Aitzol_Berasategi
        umang_by_Abhishek_Mudgal""",
}
HELD_OUT = {
    "Garden",
    "Storm",
    "LadyBird",
    "EveningGlow",
    "FallenLeaf",
    "Picture_0B_by_freespace",
    "friends_by_Aitzol_Berasategi",
    "life_by_Aitzol_Berasategi",
    "picosdeeuropa_by_Aitzol_Berasategi",
    "Bridge_by_Sander_Klootwijk",
}
SIDE, SIDES, CROPS = 128, (420, 500, 640, 800, 1000, 1600), 40  # pixels, pixels, and crops of a photograph at each size
SIZE, SHARES = (500, 333), (10, 25, 50)


def photographs() -> Iterator[tuple[str, Path]]:
    """Yield the name and the path of each photograph."""
    for folder, names in PHOTOGRAPHS.items():
        for name in names.split():
            path = folder / name / "contents/images/2560x1600.jpg" if folder == WALLPAPERS else folder / f"{name}.jpg"
            yield name, path


def crops(out: Path) -> None:
    """Write random squares of every photograph that is not held out as PNG files."""
    out.mkdir(parents=True, exist_ok=True)
    generator, count = np.random.default_rng(0), 0
    for name, path in photographs():
        if name in HELD_OUT:
            continue
        photo = Image.open(path).convert("RGB")
        for side in SIDES:
            scale = side / max(photo.size) if photo.width >= photo.height else side / photo.height
            width, height = round(scale * photo.width), round(scale * photo.height)
            pixels = np.asarray(photo.resize((width, height), Image.Resampling.LANCZOS))
            for _ in range(CROPS):
                y, x = generator.integers(0, height - SIDE + 1), generator.integers(0, width - SIDE + 1)
                square = pixels[y : y + SIDE, x : x + SIDE]
                square = square.transpose(1, 0, 2) if generator.random() < 0.5 else square
                square = square[::-1] if generator.random() < 0.5 else square
                Image.fromarray(np.ascontiguousarray(square)).save(out / f"{count:05d}.png", compress_level=1)
                count += 1
    print(f"{count} crops in {out}")


def train(data: Path, out: Path, minutes: float) -> None:
    """Train a model on crops, or continue, and write it."""
    with bars() as bar:
        images = load_data(data, held_out=8, progress=bar.of("reading images")).train
        model = train_masking_model(images, out / "training", minutes=minutes, listener=Listener(on_stage=bar))
    if isinstance(model, str):
        sys.exit(f"stopped by {model}; the same command continues")
    MaskingRun(out, model).save()
    print(f"{out} can compress photographs now")


def scaled(path: Path) -> Image.Image:
    """Crop the middle of a photograph to the aspect ratio of `SIZE`, turned if it is upright, and scale it to that."""
    photo = Image.open(path).convert("RGB")
    size = SIZE if photo.width >= photo.height else SIZE[::-1]
    width = min(photo.width, int(photo.height * size[0] / size[1]))
    height = min(photo.height, int(photo.width * size[1] / size[0]))
    left, top = (photo.width - width) // 2, (photo.height - height) // 2
    return photo.crop((left, top, left + width, top + height)).resize(size, Image.Resampling.LANCZOS)


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


def measured(name: str, path: Path, model: list[str], out: Path) -> dict[str, object]:
    """Compress, decode and preview a photograph, each in its own process."""
    photo, original, file = scaled(path), out / f"{name}.png", out / f"{name}.nelbo"
    photo.save(original)
    file.unlink(missing_ok=True)  # `nelbo compress` would keep it

    def timed(*command: str) -> float:
        began = time.perf_counter()
        subprocess.run([sys.executable, "-m", "nelbo", *command, *model], check=True, stdout=subprocess.DEVNULL)
        return time.perf_counter() - began

    encoding = timed("compress", str(original), "-o", str(file))
    decoding = timed("decompress", str(file), "-o", str(out / "back.png"))
    pixels, size = np.asarray(photo), file.stat().st_size
    exact = bool(np.array_equal(pixels, np.asarray(Image.open(out / "back.png"))))
    (out / "back.png").unlink()
    previews = {}
    for share in SHARES:
        timed("decompress", str(file), "-o", str(out / "seen.png"), "--bytes", str(size * share // 100))
        error = np.asarray(Image.open(out / "seen.png").convert("RGB"), dtype=np.float64) - pixels
        previews[f"{share}%"] = round(float(np.sqrt((error**2).mean())), 2)
        (out / "seen.png").unlink()
    return {
        "exact": exact,
        "bytes": size,
        "bits_per_dim": round(8 * size / pixels.size, 4),
        "others": others(photo),
        "rmse_of_previews": previews,
        "seconds": {"encode": round(encoding, 1), "decode": round(decoding, 1)},
    }


def compare(model: list[str], out: Path) -> None:
    """Measure every held-out photograph, and write the record."""
    out.mkdir(parents=True, exist_ok=True)
    found = {name: measured(name, path, model, out) for name, path in photographs() if name in HELD_OUT}
    sizes = {"nelbo": [row["bytes"] for row in found.values()]}
    for row in found.values():
        for name, size in row["others"].items():  # type: ignore[attr-defined]
            sizes.setdefault(name, []).append(size)
    means = {name: float(np.mean(own)) for name, own in sizes.items()}
    record = {"photographs": found, "mean_bytes": means}
    (out / "photographs.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(record, indent=1))


def main() -> None:
    """Run the command `crops`, `train` or `compare`."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.photograph", description=(__doc__ or "").split("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    cutting = commands.add_parser("crops", help="Cut photographs into training images.")
    cutting.add_argument("out", type=Path, help="Folder for the crops.")
    training = commands.add_parser("train", help="Train a model on crops.")
    training.add_argument("crops", type=Path, help="Folder of crops.")
    training.add_argument("out", type=Path, help="Folder of the model.")
    training.add_argument("--minutes", type=float, default=50.0, help="Training time.")
    comparing = commands.add_parser("compare", help="Compress the held-out photographs and compare.")
    comparing.add_argument("--model", default="", help="Folder of the model. Default: the bundled one.")
    comparing.add_argument("--out", type=Path, default=Path("benchmarks/photograph"), help="Folder for the results.")
    options = parser.parse_args()
    if options.command == "crops":
        crops(options.out)
    elif options.command == "train":
        train(options.crops, options.out, options.minutes)
    else:
        compare(["-m", options.model] if options.model else [], options.out)


if __name__ == "__main__":
    main()
