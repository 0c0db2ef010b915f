"""Which files of a folder are images: by their endings, or by their first bytes."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from nelbo.data import describe, load_data, load_for_model, read_pictures
from nelbo.data.folders import DataWarning
from nelbo.errors import DataError
from tests.data.conftest import picture

Save = Callable[..., Path]


def test_unusual_names_of_pictures_are_read(tmp_path: Path, save: Save) -> None:
    for seed, name in enumerate(("a.png", "b.png", "c.png", "d.jpg", "e.bmp", "f.tif", "g.png")):
        save(name, seed=seed)
    names = ("a.JFIF", "b.jpe", "c", "d.img", "e.2024", "f", "g.bak")
    for old, new in zip(sorted(tmp_path.iterdir()), names, strict=True):
        old.rename(tmp_path / new)
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "notes").write_text("BMW: not a picture")
    report = describe(str(tmp_path))  # a copy of an editor is left out
    assert (report.count, dict(report.ignored), report.rejects) == (6, {"no ending": 2, ".bak": 1}, [])
    assert len(load_data(str(tmp_path), held_out=0).train) == 6
    assert len(load_for_model(str(tmp_path), (3, 8, 8)).names) == len(list(read_pictures(tmp_path))) == 6
    assert len(load_data(str(tmp_path / "c"), held_out=0).train) == 1
    (tmp_path / "text").write_text("no picture")
    with pytest.raises(DataError, match="text is of an unknown kind"):
        load_data(str(tmp_path / "text"))


def test_pictures_of_other_formats_are_counted(tmp_path: Path, save: Save) -> None:
    save("a.png")
    for name in ("b.gif", "c.heic", "d.HEIC", "e.txt"):
        (tmp_path / name).write_text("")
    with pytest.warns(DataWarning, match=r"3 pictures are left out.*\(\.gif: 1, \.heic: 2\); convert them to PNG"):
        load_data(str(tmp_path))
    (tmp_path / "b.gif").unlink(), (tmp_path / "d.HEIC").unlink()
    unread = r"1 picture is left out, because nelbo does not read its format \(\.heic: 1\); convert it"
    for read in (
        load_data,
        describe,
        lambda spec: load_for_model(spec, (3, 8, 8)),
        lambda spec: list(read_pictures(spec)),
    ):
        with pytest.warns(DataWarning, match=unread):
            read(str(tmp_path))


def test_formats_that_begin_like_tiff_are_left_out(tmp_path: Path, save: Save) -> None:
    """A camera file holds its pixels apart from the small image that a reader of TIFF finds."""
    save("a.png"), save("b.tif").rename(tmp_path / "b.pef")
    with pytest.warns(DataWarning, match=r"1 picture is left out.*\(\.pef: 1\)"):
        assert len(load_data(str(tmp_path)).train) == 1


def test_pages_of_a_tiff_without_an_ending_are_images(tmp_path: Path, save: Save) -> None:
    pages = [picture(seed) for seed in range(3)]
    pages[0].save(tmp_path / "stack", "TIFF", save_all=True, append_images=pages[1:])
    (tmp_path / "cat").mkdir()
    (tmp_path / "stack").rename(tmp_path / "cat" / "stack")
    report = describe(str(tmp_path))
    assert (report.count, dict(report.classes)) == (3, {"cat": 3})
