"""The architecture page and CONTRIBUTING name files, functions and layers that exist."""

import re
import tomllib
from pathlib import Path

import pytest

from tests.docs.test_paper_map import found

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src" / "nelbo"
TEXTS = {name: (ROOT / name).read_text(encoding="utf-8") for name in ("docs/architecture.md", "CONTRIBUTING.md")}
NAMED = [(name, code) for name, text in TEXTS.items() for code in sorted(set(re.findall(r"`([^`\n]+)`", text)))]
FILES = [(name, code) for name, code in NAMED if re.fullmatch(r"[\w/]+\.(py|pyi)", code) and "/" in code]
DOTTED = [(name, code) for name, code in NAMED if re.fullmatch(r"nelbo(\.\w+)+", code)]


@pytest.mark.parametrize(("text", "path"), FILES)
def test_files_named_in_the_text_exist(text: str, path: str):
    assert (PACKAGE / path).is_file() or (ROOT / path).is_file()


@pytest.mark.parametrize(("text", "name"), DOTTED)
def test_functions_named_in_the_text_exist(text: str, name: str):
    found(name)


def test_diagram_shows_the_layers_of_the_contract():
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"][
        "contracts"
    ]
    (layers,) = (contract["layers"] for contract in contracts if contract["id"] == "direction")
    diagram = re.search(r'<div class="layers">(.*?)\n</div>', TEXTS["docs/architecture.md"], re.DOTALL)
    assert diagram
    rows = [re.sub("<span>.*?</span>", "", row) for row in diagram[1].strip().splitlines()]
    shown = [set(re.findall("<code>(.*?)</code>", row)) for row in rows]
    assert shown == [set(re.findall(r"\w+", layer)) for layer in layers]
