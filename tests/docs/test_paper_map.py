"""The paper map is complete: every equation and algorithm has a function that exists and a test that exists."""

import ast
import importlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
EXPECTED = {
    *(f"Equation {number}" for number in range(1, 23)),
    *(f"Algorithm {number}" for number in range(1, 5)),
    *(f"Figure {number}" for number in range(5, 9)),
    "Table 2",
    "Table 4",
}


def rows_of(text: str) -> dict[str, tuple[list[str], list[str], str]]:
    """Return the rows of the tables: the item of the paper -> (functions, tests, the row)."""
    rows = {}
    for line in text.splitlines():
        if re.match(r"\| (Equation|Algorithm|Figure|Table) \d", line):
            name, _, functions, tests = (cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:5])
            assert name not in rows, f"{name} has two rows"
            rows[name] = (re.findall(r"`([^`]+)`", functions), re.findall(r"`([^`]+)`", tests), line)
    return rows


ROWS = rows_of((ROOT / "docs" / "paper-map.md").read_text(encoding="utf-8"))


def found(dotted: str) -> object:
    """Return the object of a dotted name; ImportError or AttributeError if there is none."""
    parts = dotted.split(".")
    for cut in range(len(parts), 0, -1):
        try:
            thing = importlib.import_module(".".join(parts[:cut]))
        except ModuleNotFoundError:
            continue
        for name in parts[cut:]:
            thing = getattr(thing, name)
        return thing
    raise ImportError(dotted)


def has_test(node: str) -> bool:
    """Return whether a pytest node such as tests/x.py::TestThis::test_that is defined in its file."""
    place, *names = node.split("::")
    path = ROOT / place
    if not path.is_file() or not names:
        return False
    body = ast.parse(path.read_text(encoding="utf-8")).body
    for name in names:
        inner = [item for item in body if isinstance(item, ast.FunctionDef | ast.ClassDef) and item.name == name]
        if not inner:
            return False
        body = inner[0].body
    return names[-1].startswith("test")


def test_every_item_has_a_row():
    assert set(ROWS) == EXPECTED


@pytest.mark.parametrize("name", sorted(ROWS))
def test_functions_and_tests_exist(name: str):
    functions, tests, row = ROWS[name]
    assert "not yet" not in row and functions and tests
    for dotted in functions:
        found(dotted)
    assert [node for node in tests if not has_test(node)] == []


def test_missing_names_are_noticed():
    with pytest.raises(AttributeError):
        found("nelbo.diffusion.ForwardProcess.stop")
    with pytest.raises(ImportError):
        found("melbo.diffusion")
    assert not has_test("tests/docs/test_paper_map.py::test_that_does_not_exist")
    assert not has_test("tests/docs/test_no_such_file.py::test_every_item_has_a_row")
    assert has_test("tests/docs/test_paper_map.py::test_every_item_has_a_row")
