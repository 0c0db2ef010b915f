"""Files are complete or absent, and damage is reported in one sentence."""

import os
import signal
import subprocess
from pathlib import Path

import pytest
import torch

from nelbo.errors import RunError
from nelbo.files import (
    WriteWarning,
    alone_in,
    or_warn,
    read_tensors,
    remove_parts,
    whole_folder,
    write_bytes,
    write_json,
    write_tensors,
    write_text,
    write_whole,
)
from tests.training.conftest import exit_code, in_a_fork


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 64 KiB."""
    place = tmp_path / "disk"
    place.mkdir()
    try:
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(place)], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"no small file system can be mounted here: {error}")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_written_files_are_read_back(tmp_path):
    tensors = {"a": torch.arange(6).reshape(2, 3).T, "b/c": torch.tensor(1.5)}
    write_tensors(tmp_path / "deep" / "x.safetensors", tensors, {"step": 3})
    read, metadata = read_tensors(tmp_path / "deep" / "x.safetensors")
    assert metadata == {"step": 3}
    assert read.keys() == tensors.keys()
    assert all(torch.equal(read[name], tensors[name]) for name in tensors)
    write_json(tmp_path / "x.json", {"ü": [1]})
    assert (tmp_path / "x.json").read_text(encoding="utf-8") == '{\n  "\\u00fc": [\n    1\n  ]\n}\n'
    write_bytes(tmp_path / "x.bin", b"\x00\xff")
    assert (tmp_path / "x.bin").read_bytes() == b"\x00\xff"


def test_files_have_the_users_permissions(tmp_path):
    (tmp_path / "plain").touch()
    write_tensors(tmp_path / "x.safetensors", {"a": torch.zeros(1)}, {})
    write_text(tmp_path / "x.txt", "x")
    assert len({path.stat().st_mode for path in tmp_path.iterdir()}) == 1


def test_killed_tensor_write_leaves_only_a_temporary_file(tmp_path, monkeypatch):
    """The process is killed at the flush, when all bytes are written."""
    monkeypatch.setattr("nelbo.files.os.fsync", lambda file: os.kill(os.getpid(), signal.SIGKILL))
    child = in_a_fork(lambda: write_tensors(tmp_path / "x", {"a": torch.zeros(1000)}, {}))
    os.waitpid(child, 0)
    assert len(names(tmp_path)) == 1
    remove_parts(tmp_path)
    assert names(tmp_path) == []


def test_folder_has_one_writer(tmp_path, monkeypatch):
    monkeypatch.setattr("nelbo.files.LOCK_SECONDS", 0.1)

    def second():
        with pytest.raises(RunError, match=r"another process is writing to .*; wait for it"), alone_in(tmp_path):
            pass

    with alone_in(tmp_path):
        assert exit_code(in_a_fork(second)) == 0
    with alone_in(tmp_path):
        pass


def test_killed_writer_releases_the_lock(tmp_path):
    def killed():
        with alone_in(tmp_path):
            os.kill(os.getpid(), signal.SIGKILL)

    os.waitpid(in_a_fork(killed), 0)
    with alone_in(tmp_path):
        pass


@pytest.mark.parametrize("error", [OSError("no"), KeyboardInterrupt(), ValueError("bug")])
def test_failed_write_keeps_the_old_file_only(tmp_path, error):
    path = tmp_path / "x"
    write_text(path, "old")

    def write(place):
        place.write_text("ne")
        raise error

    with pytest.raises(RunError if isinstance(error, OSError) else type(error)):
        write_whole(path, write)
    assert path.read_text() == "old"
    assert names(tmp_path) == ["x"]


@pytest.mark.parametrize("name", ["x" * 255, "ü" * 127])
def test_longest_names_can_be_written(tmp_path, name):
    write_text(tmp_path / "files" / name, "whole")
    with whole_folder(tmp_path / "folders" / name) as part:
        (part / "a").write_text("whole")
    assert names(tmp_path / "files") == names(tmp_path / "folders") == [name]


def test_kill_before_the_rename_keeps_the_old_file(tmp_path):
    path = tmp_path / "x"
    write_text(path, "old")

    def killed(place):
        place.write_text("new, but")
        os.kill(os.getpid(), signal.SIGKILL)

    child = in_a_fork(lambda: write_whole(path, killed))
    os.waitpid(child, 0)
    assert path.read_text() == "old"
    assert len(names(tmp_path)) == 2
    remove_parts(tmp_path)
    assert names(tmp_path) == ["x"]


def test_reader_never_sees_a_partial_file(tmp_path):
    path = tmp_path / "x"
    write_text(path, "old")
    seen = []

    def write(place):
        place.write_text("new")
        seen.append(path.read_text())

    write_whole(path, write)
    assert (seen, path.read_text()) == (["old"], "new")


def test_parent_that_is_a_file_is_reported(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="could not be written"):
        write_text(tmp_path / "file" / "x", "text")


@pytest.mark.parametrize("kind", ["text", "tensors"])
def test_full_disk_is_reported_and_old_file_kept(small_disk, kind):
    path = small_disk / "x"
    write_tensors(path, {"a": torch.zeros(10)}, {})
    old = path.read_bytes()
    with pytest.raises(
        RunError, match=r"could not be written: the disk is full; free space or choose another folder with out"
    ):
        if kind == "text":
            write_text(path, "x" * 100_000)
        else:
            write_tensors(path, {"a": torch.zeros(100_000)}, {})
    assert path.read_bytes() == old
    assert names(small_disk) == ["x"]


def test_missing_weights_are_reported(tmp_path):
    with pytest.raises(RunError, match=r"model\.safetensors is missing; expected the weights"):
        read_tensors(tmp_path / "model.safetensors")


@pytest.mark.parametrize("keep", [0, 4, 8, 60, 0.5, -1])
def test_truncated_weights_are_reported(tmp_path, keep):
    path = tmp_path / "model.safetensors"
    write_tensors(path, {"a": torch.zeros(100)}, {})
    content = path.read_bytes()
    path.write_bytes(content[: int(keep * len(content)) if isinstance(keep, float) else keep])
    with pytest.raises(RunError, match="is damaged or cut short"):
        read_tensors(path)


def test_damaged_header_is_reported(tmp_path):
    path = tmp_path / "model.safetensors"
    write_tensors(path, {"a": torch.zeros(100)}, {})
    path.write_bytes(path.read_bytes().replace(b'"a"', b'"a ', 1))
    with pytest.raises(RunError, match="is damaged or cut short"):
        read_tensors(path)


def test_folder_is_complete_or_absent(tmp_path):
    target = tmp_path / "new" / "folder"
    with pytest.raises(KeyboardInterrupt), whole_folder(target) as part:
        (part / "a").write_text("half")
        raise KeyboardInterrupt
    assert names(target.parent) == []
    with whole_folder(target) as part:
        (part / "deep").mkdir()
        (part / "deep" / "a").write_text("whole")
        assert not target.exists()
    assert names(target.parent) == ["folder"] and names(target) == ["deep"]


def test_folder_that_exists_is_filled_at_the_end(tmp_path):
    (tmp_path / ".keep").write_text("")
    with whole_folder(tmp_path) as part:
        (part / "a").write_text("whole")
        assert not (tmp_path / "a").exists()
    assert names(tmp_path) == [".keep", "a"]


@pytest.mark.parametrize("name", ["folder", ""])
def test_killed_folder_can_be_written_again(tmp_path, name):
    def killed():
        with whole_folder(tmp_path / name) as part:
            (part / "a").write_text("half")
            os.kill(os.getpid(), signal.SIGKILL)

    os.waitpid(in_a_fork(killed), 0)
    assert len(names(tmp_path)) == 1 and names(tmp_path)[0].endswith(".part")
    with whole_folder(tmp_path / name) as part:
        (part / "a").write_text("whole")
    assert names(tmp_path) == [name or "a"] and (tmp_path / name / "a").read_text() == "whole"


def test_folder_that_cannot_be_written_is_reported(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="could not be written"), whole_folder(tmp_path / "file" / "x"):
        pass


def test_unwritten_file_is_a_warning_where_it_may_be_missing(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.warns(WriteWarning, match="could not be written"), or_warn():
        write_text(tmp_path / "file" / "x", "text")
