"""Where diffusers keeps the weights of a network: in one safetensors file, in shards with an index, in a variant."""

import re
from dataclasses import dataclass
from pathlib import Path

from nelbo.errors import RunError
from nelbo.interop.settings import read_settings

STEM = "diffusion_pytorch_model"
WEIGHTS = f"{STEM}.safetensors"
OTHERS = (f"{STEM}*.safetensors", f"{STEM}*.index*.json")  # variants and shards, as patterns
SINGLE = re.compile(rf"{STEM}(?:\.(?P<variant>\w+))?\.safetensors")
INDEX = re.compile(rf"{STEM}\.safetensors\.index(?:\.(?P<variant>\w+))?\.json")
SHARD = re.compile(rf"{STEM}[\w.-]*\.safetensors")
PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl")
TO_SAFETENSORS = (
    "opening it would run its code. If you trust it, convert it to safetensors with diffusers: "
    'DDPMPipeline.from_pretrained("THERE").save_pretrained("FOLDER", safe_serialization=True)'
)


@dataclass(frozen=True)
class WeightFiles:
    """The files that hold the weights of one network.

    Attributes:
        paths: one file, or all shards.
        variant: the variant in their names, such as "fp16"; "" for none.
    """

    paths: tuple[Path, ...]
    variant: str = ""


def find_weights(home: Path) -> WeightFiles:
    """Find the weights of the network in a folder: those without a variant, or else those of the only variant.

    Raises:
        RunError: there are none, a shard is missing, or there are several variants.
    """
    names = sorted(path.name for path in home.iterdir())
    found: dict[str, str] = {}
    for pattern in (INDEX, SINGLE):  # a whole file goes before shards
        found |= {match["variant"] or "": name for name in names if (match := pattern.fullmatch(name))}
    if not found:
        raise RunError(_nothing(home, names))
    if "" not in found and len(found) > 1:
        raise RunError(
            f"{home} holds the weights in {len(found)} variants ({', '.join(sorted(found.values()))}) and not as "
            f"{WEIGHTS}; rename the file of one variant to that."
        )
    variant = "" if "" in found else next(iter(found))
    path = home / found[variant]
    return WeightFiles((path,) if SINGLE.fullmatch(path.name) else _shards(path), variant)


def _shards(index: Path) -> tuple[Path, ...]:
    """Return the files that an index of shards names.

    Raises:
        RunError: the index is damaged, names a file of another kind, or a shard is missing.
    """
    places = read_settings(index).get("weight_map")
    if not isinstance(places, dict) or not places:
        raise RunError(f"{index} has no weight_map; expected the file of each weight.")
    names = sorted(set(map(str, places.values())))
    for name in names:
        if not SHARD.fullmatch(name):  # no other folder, and no pickle
            raise RunError(f"{index} names {name!r}; expected files such as {STEM}-00001-of-00002.safetensors.")
        if not (index.parent / name).is_file():
            raise RunError(f"{index.parent / name} is missing, one of {len(names)} shards; download it again.")
    return tuple(index.parent / name for name in names)


def _nothing(home: Path, names: list[str]) -> str:
    """Return the message for a folder without weights that can be read."""
    pickled = [name for name in names if Path(name).suffix in PICKLES]
    if pickled:
        return (
            f"{home / pickled[0]} is a pickle and {WEIGHTS} is missing; nelbo never opens a pickle: {TO_SAFETENSORS}."
        )
    others = [name for name in names if name.startswith(STEM)]
    found = f" (found {', '.join(others)})" if others else ""
    return (
        f"{home / WEIGHTS} is missing{found}; expected the weights in one safetensors file, or in shards with "
        f"{WEIGHTS}.index.json. A pickle ({', '.join(PICKLES)}) is not read: {TO_SAFETENSORS}."
    )
