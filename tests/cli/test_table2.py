"""`nelbo table2`: every cell is in every form of the table."""

import csv
import json
import shlex

import pytest
import torch
from PIL import Image

import nelbo.studies
from nelbo.studies import CellRecord, GridOptions, Table2, table2_cells


@pytest.fixture
def grid(monkeypatch):
    """A complete grid without any training, in which three cells failed in three ways."""
    records = [
        CellRecord(cell, None, 9, 0.1, 2 + i / 100, 0.01, {"distance": 5.0 + i, "low": 4.0, "high": 99.0})
        for i, cell in enumerate(table2_cells())
    ]
    records[0] = CellRecord(records[0].cell, "the loss is not finite at step 3", 2, 0.1, None, None)
    records[1] = CellRecord(records[1].cell, "its bits are too many", 9, 0.1, 1e7, 1.0, records[1].frechet)
    records[2] = CellRecord(records[2].cell, "its bound is not finite", 9, 0.1, None, None)

    def run(folder, options, listener):
        for record in records:
            listener.on_record(record)
        return Table2(options, records, None, 17, 1500, 297, "against nothing")

    samples = torch.zeros(3, 1, 8, 8, dtype=torch.uint8)
    monkeypatch.setattr(nelbo.studies, "run_table2", run)
    monkeypatch.setattr(
        nelbo.studies, "drawn_samples", lambda folder: [(record.cell, samples) for record in records[3:]]
    )
    return records


def test_every_cell_is_in_every_form(nelbo_cli, tmp_path, grid):
    made = nelbo_cli(
        "table2", "--data", "digits", "--out", "grid", "--steps", 9, "--seed", 4, "--set", "training.ema=0.5"
    )
    assert made.code == 0
    folder = tmp_path / "grid"
    whole = json.loads((folder / "table2.json").read_text())
    assert [cell["name"] for cell in whole["cells"]] == [cell.name for cell in table2_cells()]
    rows = list(csv.DictReader((folder / "table2.csv").open()))
    assert [row["name"] for row in rows] == [cell.name for cell in table2_cells()]
    assert (rows[3]["bits_per_dim"], rows[3]["frechet_distance"], rows[0]["bits_per_dim"]) == ("2.03", "8.0", "")
    page = (folder / "table2.md").read_text()
    assert "…" not in made.out  # no cell is cut off in a terminal of 80 columns
    for text in (page, made.out):
        for record in grid[3:]:
            assert f"{record.bits_per_dim:.3f}" in text
        for record in grid[:3]:
            assert record.unstable in text
        assert "seed 4" in text
        assert "above 4.09 bits/dim, that of a uniform distribution over 17 levels" in text
        assert text.count("(1.0e+07)") == 1
    assert page.count("unstable (1.0e+07)") == 1
    for i, record in enumerate(grid[3:], 3):
        assert f"{record.bits_per_dim:.3f} ± 0.010 / {5 + i:.3g} " in page
    assert made.out.count("± 0.010") == len(grid) - 3
    assert "mean-variational-fixed-large: unstable" in made.err
    for name in ("table2.png", "samples.png"):
        picture = Image.open(folder / name).convert("L")
        assert min(picture.size) > 300
        assert len(set(picture.getdata())) > 10


def test_printed_command_repeats_the_grid(nelbo_cli, tmp_path, grid, monkeypatch):
    asked = []

    def run(folder, options, listener):
        asked.append(options)
        return Table2(options, [], None, 17, 1, 1, "")

    monkeypatch.setattr(nelbo.studies, "run_table2", run)
    size = ("--size", "12x8")
    nelbo_cli("table2", "--data", "digits", "--out", "a b", "--minutes", 2, *size, "--set", "network.fourier=[1,2]")
    line = (tmp_path / "a b" / "table2.md").read_text().splitlines()[2].strip()
    nelbo_cli(*shlex.split(line)[1:])
    assert len(asked) == 2
    assert (
        asked[0] == asked[1] == GridOptions("digits", minutes=2.0, overrides={"network.fourier": [1, 2]}, size=(8, 12))
    )


def test_two_budgets_are_refused(nelbo_cli):
    asked = nelbo_cli("table2", "--data", "digits", "--out", "grid", "--minutes", 1, "--steps", 1)
    assert asked.code == 2
    assert "--minutes or --steps" in asked.err
