"""Paths as people have them: loops, missing permissions, long names, no home folder. Each gives data or a sentence."""

import os
import pwd
from pathlib import Path

import pytest

from nelbo.data import Picture, Reject, describe, load_data, load_for_model, read_picture, read_pictures
from nelbo.data.shards import find_shards
from nelbo.errors import ConfigurationError, DataError, RunError
from nelbo.paths import check_target
from nelbo.runs.folder import find_run, read_config
from nelbo.studies.data_request import DataRequest


def refuse(*_: object) -> None:
    raise PermissionError(13, "Permission denied")


def test_link_to_itself_in_a_folder_is_no_image(tmp_path: Path, save) -> None:
    save("a.png")
    (tmp_path / "self").symlink_to("self")
    (tmp_path / "self.png").symlink_to("self.png")
    report = describe(str(tmp_path))
    assert report.count == 1
    assert [reject.reason for reject in report.rejects] == ["a broken link"]


@pytest.mark.filterwarnings("ignore::nelbo.data.DataWarning")
def test_pictures_of_every_part_are_read_and_broken_links_named(tmp_path: Path, save) -> None:
    """What compresses or packs a folder may not leave out an image silently."""
    for name in ("train/1.png", "val/2.png", "test/3.png"):
        save(name)
    (tmp_path / "gone.png").symlink_to("nowhere")
    assert load_data(str(tmp_path)).test is not None
    found = list(read_pictures(tmp_path))
    assert sorted(each.name for each in found if isinstance(each, Picture)) == ["1.png", "2.png", "3.png"]
    assert [each.reason for each in found if isinstance(each, Reject)] == ["a broken link"]
    assert len(list(read_pictures(tmp_path, 2))) == 2


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("link", r"link cannot be opened: Too many levels of symbolic links"),
        ("gone", "is a link to gone, which"),
    ],
)
def test_link_that_leads_nowhere_is_named(tmp_path: Path, target: str, message: str) -> None:
    (tmp_path / "link").symlink_to(target)
    for read in (describe, load_data, lambda spec: load_for_model(spec, (1, 8, 8))):
        with pytest.raises(DataError, match=message):
            read(str(tmp_path / "link"))


def test_folder_without_permission_is_a_reject(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "scandir", refuse)
    monkeypatch.setattr(os, "listdir", refuse)
    assert [reject.reason for reject in describe(str(tmp_path)).rejects] == ["cannot be listed: Permission denied"]
    with pytest.raises(DataError, match="cannot be listed: Permission denied"):
        load_data(str(tmp_path))


def test_file_in_a_folder_that_cannot_be_searched_is_a_reject(
    tmp_path: Path, save, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept, hidden = save("a.png"), save("b.png")
    real = os.stat
    monkeypatch.setattr(
        os, "stat", lambda path, **options: refuse() if str(path) == str(hidden) else real(path, **options)
    )
    report = describe(str(tmp_path))
    assert (report.count, kept.name) == (1, "a.png")
    assert [reject.reason for reject in report.rejects] == ["it cannot be opened: Permission denied"]


def test_name_after_a_tilde_need_not_be_a_user(tmp_path: Path, save, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for read in (describe, load_data, read_picture, find_shards):
        if read is find_shards:
            assert find_shards("~foo.tar") == [Path("~foo.tar")]
            continue
        with pytest.raises(DataError, match=r"~foo\.png"):
            read("~foo.png")
    save("~foo.png")
    assert describe("~foo.png").count == 1
    assert read_picture("~foo.png").pixels.shape == (3, 8, 8)


@pytest.mark.parametrize("name", ["a" * 300, "a" * 300 + ".npy", "a" * 300 + ".tar"])
def test_name_that_is_too_long_is_named(name: str) -> None:
    with pytest.raises(DataError, match="aaa"):
        load_data(name)
    with pytest.raises(RunError, match="no run folder or bundled model"):
        find_run(name)
    with pytest.raises(RunError, match="File name too long"):
        check_target(Path(name))


def test_null_character_is_in_no_path() -> None:
    with pytest.raises(DataError, match="is neither a built-in data set nor an existing path"):
        load_data("a\0b.png")


def test_pattern_with_two_stars_is_one_star(tmp_path: Path) -> None:
    (tmp_path / "a.tar").touch()
    assert find_shards(str(tmp_path / "**.tar")) == [tmp_path / "a.tar"]


def test_fashion_mnist_is_searched_without_a_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HOME")
    monkeypatch.setattr(pwd, "getpwuid", lambda number: {}[number])
    monkeypatch.setattr("nelbo.data.idx.find_idx", lambda folder: {})
    with pytest.raises(DataError, match="fashion-mnist is not on this machine"):
        load_data("fashion-mnist")


def test_unreadable_configuration_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "read_text", lambda path, **options: refuse())
    with pytest.raises(RunError, match=r"config\.json cannot be read: Permission denied; check its permissions"):
        read_config(tmp_path)


def test_paths_are_accepted_wherever_texts_are(tmp_path: Path, save) -> None:
    path = save("a.png")
    assert describe(path).to_json()["spec"] == str(path)
    assert len(load_for_model(path, (3, 8, 8)).images) == len(load_data(path).train) == 1
    assert len(list(read_pictures(path))) == 1
    assert read_picture(path).path == str(path)
    assert DataRequest(path).spec == str(path)


@pytest.mark.parametrize("wrong", [b"a.png", 7, None, ["a.png"]])
def test_other_types_than_paths_are_refused(wrong: object) -> None:
    for read in (
        describe,
        read_picture,
        lambda data: list(read_pictures(data)),
        lambda data: load_for_model(data, (1, 8, 8)),
    ):
        with pytest.raises(DataError, match=r"the data is .*; expected the name of a built-in set, or a path\."):
            read(wrong)


def test_counts_are_whole_numbers() -> None:
    with pytest.raises(ConfigurationError, match="workers must be a whole number, at least 0, got -1"):
        describe("digits", workers=-1)
    with pytest.raises(ConfigurationError, match="num must be a whole number, at least 1, got '2'"):
        next(read_pictures("digits", num="2"))
