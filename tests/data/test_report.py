"""The report on a data set shows itself in a few lines."""

from pathlib import Path

import pytest
from PIL import Image

from nelbo.data import describe
from nelbo.errors import ConfigurationError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two classes, one with a control character in its name, seven sizes, and files that cannot be used."""
    for name, sides in (("cats", range(1, 8)), ("d\x1bogs", (3, 3))):
        (tmp_path / name).mkdir()
        for place, side in enumerate(sides):
            Image.new("RGB", (side, 4), (9, 0, 0)).save(tmp_path / name / f"{place}.png")
    for name in ("a.png", "b.png"):
        (tmp_path / "cats" / name).write_bytes(b"no picture")
    (tmp_path / "notes.txt").write_text("x")
    return tmp_path


def test_report_is_a_few_lines(folder: Path):
    report = describe(folder)
    lines = repr(report).splitlines()
    assert lines[:2] == ["DataReport", f"  data     {folder} (folder)"] and len(lines) == 8
    assert lines[2:] == [
        "  images   9, several sizes",
        "  sizes    3x4: 3, 1x4: 1, 2x4: 1, 4x4: 1, 5x4: 1, 2 more",
        "  modes    RGB: 9",
        "  classes  cats: 7, d\\x1bogs: 2",
        f"  rejects  2 files, such as {folder}/cats/a.png (it is not a PNG, JPEG, WebP, BMP or TIFF image)",
        "  ignored  .txt: 1",
    ]
    page = report._repr_html_()
    assert page.count("<tr>") == 7 and page.count("<img") == 1 and "\x1b" not in page


def test_report_of_a_built_in_set_names_the_held_out_part():
    assert "images   1,797, 1 x 8 x 8 (C x H x W), 297 of them held out by the set" in repr(describe("digits"))
    assert describe("digits").to_json()["count"] == 1797


def test_report_becomes_data_frames(folder: Path):
    pytest.importorskip("pandas")
    report = describe(folder)
    assert report.to_pandas().to_dict("list")["images"] == [3, 1, 1, 1, 1, 1, 1]
    assert report.to_pandas("classes").to_dict("list") == {"class": ["cats", "d\x1bogs"], "images": [7, 2]}
    assert report.to_pandas("ignored").to_dict("list") == {"ending": [".txt"], "files": [1]}
    assert list(report.to_pandas("rejects").columns) == ["path", "reason"] and len(report.to_pandas("rejects")) == 2
    with pytest.raises(ConfigurationError, match="table 'sides'"):
        report.to_pandas("sides")
