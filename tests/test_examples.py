"""The notebooks of `examples/` have stored outputs and short cells, use public names only, and run at smaller sizes.

As in papermill, the test sets other values after the cell with the tag "parameters".
"""

import ast
import importlib
import json
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"
SMALL = {
    "mlp_walk_through": {"training_steps": 20, "num": 200, "reverse_steps": 10, "frames": 3},
    "one_image_through_the_bound": {"training_steps": 20, "draws": 12},
}
LONGEST = 12  # lines of a cell


def cells(name: str) -> list[dict[str, object]]:
    return json.loads((EXAMPLES / f"{name}.ipynb").read_text(encoding="utf-8"))["cells"]


def code_of(name: str) -> list[str]:
    return ["".join(cell["source"]) for cell in cells(name) if cell["cell_type"] == "code"]


def executed(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
    """Run the cells and return the variables after the last one."""
    monkeypatch.chdir(folder)
    known: dict[str, object] = {"__name__": "__notebook__"}
    for number, cell in enumerate(cells(name)):
        if cell["cell_type"] == "code":
            exec(compile("".join(cell["source"]), f"{name}, cell {number}", "exec"), known)
        if "parameters" in cell["metadata"].get("tags", []):
            assert known.keys() >= SMALL[name].keys()
            known.update(SMALL[name])
    return known


def test_every_notebook_is_tested():
    assert {path.stem for path in EXAMPLES.glob("*.ipynb")} == set(SMALL)


@pytest.mark.parametrize("name", SMALL)
def test_cells_are_short_and_executed_in_order(name: str):
    assert len({cell["id"] for cell in cells(name)}) == len(cells(name))
    code = [cell for cell in cells(name) if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1))
    for cell in code:
        assert len(cell["source"]) <= LONGEST
        assert all(output["output_type"] in ("stream", "display_data", "execute_result") for output in cell["outputs"])
    assert any("image/png" in output.get("data", {}) for cell in code for output in cell["outputs"])
    assert sum("parameters" in cell["metadata"].get("tags", []) for cell in cells(name)) == 1


@pytest.mark.parametrize("name", SMALL)
def test_only_public_names_are_used(name: str):
    tree = ast.parse("\n".join(code_of(name)))
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            public = set(importlib.import_module(node.module).__all__)
            assert {alias.name for alias in node.names} <= public
        assert not (isinstance(node, ast.Attribute) and node.attr.startswith("_"))


@pytest.mark.slow
def test_mlp_walk_through(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    known = executed("mlp_walk_through", tmp_path, monkeypatch)
    assert known["samples"].shape == (200, 2, 1, 1)
    assert (tmp_path / "points.gif").read_bytes().startswith(b"GIF89a")
    assert known["gap"].at_most > 0


def test_one_image_through_the_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The sum by hand equals the bound within |z| < 4.5 (24 draws), and the parts of the report add up to its total."""
    known = executed("one_image_through_the_bound", tmp_path, monkeypatch)
    assert abs(known["z"]) < 4.5
    assert known["in_all"] == pytest.approx(known["report"].total, abs=1e-9)
    assert float(known["one_step"].mean()) == pytest.approx(
        float(known["bound"].step(known["x_0"], known["t"], known["noise"]).mean()), rel=1e-5
    )
