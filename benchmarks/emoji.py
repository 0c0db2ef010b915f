"""Images in colour for trials: two sets of emoji, one folder per category, from their npm packages.

Run it where the packages are:

    npm pack emoji-datasource-google@16.0.0 emoji-datasource-twitter@16.0.0
    python -m benchmarks.emoji emoji-datasource-*.tgz --out emoji

Google's images (Noto Emoji) are available under the Apache License 2.0, and Twitter's (Twemoji) under CC BY 4.0. Skin
tones are left out, so that the category of people does not outweigh the others.
"""

import argparse
import json
import tarfile
from pathlib import Path

SIDE = 64  # pixels


def unpack(package: Path, out: Path) -> int:
    """Write the emoji of one package into `out`, a folder per category; return how many."""
    with tarfile.open(package) as archive:
        names = [name for name in archive.getnames() if name.startswith("package/img/") and f"/{SIDE}/" in name]
        vendor = names[0].split("/")[2]
        written = 0
        for emoji in json.load(_open(archive, "package/emoji.json")):
            if emoji["category"] == "Component" or not emoji[f"has_img_{vendor}"]:
                continue  # a component is a swatch of skin or hair
            folder = out / emoji["category"].replace(" & ", " and ")
            folder.mkdir(parents=True, exist_ok=True)
            content = _open(archive, f"package/img/{vendor}/{SIDE}/{emoji['image']}").read()
            (folder / f"{vendor}-{emoji['image']}").write_bytes(content)
            written += 1
    return written


def _open(archive: tarfile.TarFile, name: str):  # type: ignore[no-untyped-def]
    """Open a member, which must exist."""
    file = archive.extractfile(name)
    if file is None:
        raise SystemExit(f"{archive.name} has no file {name}")
    return file


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("packages", type=Path, nargs="+", help="the .tgz files of the packages")
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    given = parser.parse_args()
    for package in given.packages:
        print(f"{package.name}: {unpack(package, given.out)} emoji")


if __name__ == "__main__":
    main()
