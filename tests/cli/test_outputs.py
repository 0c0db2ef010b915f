"""Output paths are checked before the work, and results are printed although a file cannot be written."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from nelbo import files
from nelbo.cli.outputs import check_outputs
from nelbo.cli.results import write_results
from nelbo.errors import ConfigurationError, RunError
from nelbo.paths import check_target

# Each command stops at its outputs: the run and the images do not exist.
COMMANDS = {
    ("score", "nothing", "-m", "nowhere"): ("--csv", "--json"),
    ("evaluate", "nowhere"): ("--json",),
    ("frechet", "nowhere"): ("--json",),
    ("inspect", "nothing.nelbo"): ("--json",),
    ("info",): ("--json",),
    ("data", "nothing"): ("--json",),
    ("kl", "nothing.csv"): ("--json", "--out"),
    ("sample", "nowhere"): ("--out",),
    ("restore", "nothing.png", "-m", "nowhere", "--noise", "9"): ("--out", "--spread"),
    ("compress", "nothing", "-m", "nowhere", "-o", "x.nelbo"): ("--json",),
    ("plot", "forward", "nowhere"): ("--out",),
    ("plot", "progressive", "nowhere"): ("--out",),
    ("plot", "shared", "nowhere"): ("--out",),
    ("plot", "interpolation", "nowhere"): ("--out",),
    ("plot", "samplers", "nowhere"): ("--out",),
    ("plot", "schedules", "nowhere"): ("--out",),
    ("plot", "neighbours", "nowhere"): ("--out", "--json"),
    ("plot", "points", "nowhere"): ("--out", "--json"),
    ("plot", "rate-distortion", "nowhere"): ("--out", "--csv", "--json"),
    ("plot", "monte-carlo", "nowhere"): ("--out", "--csv", "--json"),
}
PAIRS = [(command, flag) for command, flags in COMMANDS.items() for flag in flags]


@pytest.fixture
def locked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the folder `locked` be one that this user may not write to; root may write everywhere."""
    access = os.access
    monkeypatch.setattr(files.os, "access", lambda path, mode: Path(path).name != "locked" and access(path, mode))


@pytest.mark.parametrize(("command", "flag"), PAIRS, ids=lambda part: part if isinstance(part, str) else part[0])
def test_every_output_is_checked_first(nelbo_cli, tmp_path, locked, command, flag):
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "locked").mkdir()
    for path, message in (
        ("folder.png", "folder.png is a folder; name a file in it"),
        ("locked/deep/x.png", f"you have no permission to write in {tmp_path / 'locked'}; choose another folder"),
    ):
        refused = nelbo_cli(*command, flag, path)
        assert refused.code == 2 and message in refused.err and refused.out == ""


@pytest.mark.parametrize(
    "command",
    [
        ("train", "--data", "nothing", "--out"),
        ("table2", "--data", "nothing", "--out"),
        ("import", ".", "--out"),
        ("compress", "nothing", "-m", "nowhere", "--out"),
        ("decompress", ".", "--out"),
    ],
)
def test_folders_are_checked_first(nelbo_cli, tmp_path, locked, command):
    (tmp_path / "locked").mkdir()
    (tmp_path / "x.nelbo").touch()
    refused = nelbo_cli(*command, "locked/run")
    assert refused.code == 2 and "you have no permission to write in" in refused.err


def test_outputs_are_distinct(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    check_outputs({"--csv": Path("a"), "--json": Path("b"), "--out": None})
    check_outputs({"--csv": Path("-"), "--json": Path("a")})
    with pytest.raises(ConfigurationError, match=r"--csv and --json are both a; name two files\."):
        check_outputs({"--csv": tmp_path / "a", "--json": Path("a")})
    with pytest.raises(ConfigurationError, match="--csv and --json are both standard output; write one of them"):
        check_outputs({"--csv": Path("-"), "--json": Path("-")})


def test_inputs_are_not_overwritten(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.save("images.npy", np.zeros((2, 8, 8), np.uint8))
    (tmp_path / "photos" / "cats").mkdir(parents=True)
    Image.new("L", (8, 8)).save("photos/cats/a.png")
    (tmp_path / "photos" / "bits.csv").touch()
    (tmp_path / "link").symlink_to("photos")
    check_outputs({"--json": Path("new.json"), "--csv": Path("photos/bits.csv")}, ["photos", "images.npy", "digits"])
    for path, source in (("images.npy", "images.npy"), ("photos/cats/a.png", "link"), ("link/cats/a.png", "photos")):
        with pytest.raises(ConfigurationError, match=f"--out {path} would overwrite an input file"):
            check_outputs({"--out": Path(path)}, [source])


def test_run_is_not_overwritten(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run").mkdir()
    check_outputs({"--out": Path("run/samples.png"), "--json": Path("run/bound.json")}, run="run")
    for name in ("config.json", "model.safetensors", "held-out-scores.json"):
        with pytest.raises(ConfigurationError, match=f"--json run/{name} would overwrite"):
            check_outputs({"--json": Path("run") / name}, run="run")


def test_devices_are_not_replaced():
    with pytest.raises(RunError, match="/dev/null is a device or a pipe"):
        check_target(Path("/dev/null"))


def test_results_are_printed_although_the_disk_is_full(nelbo_cli, tmp_path, monkeypatch):
    write = files.write_bytes

    def full(path, content):
        if path.suffix == ".json":
            raise RunError(f"{path} could not be written: the disk is full.")
        write(path, content)

    monkeypatch.setattr(files, "write_bytes", full)
    done = nelbo_cli("kl", "--example", "worms", "--json", "x.json", "--out", "x.png")
    assert done.code == 2 and "the disk is full" in done.err and "the nearest is" in done.out
    assert (tmp_path / "x.png").is_file()


def test_each_output_is_tried(tmp_path, capsys):
    (tmp_path / "folder").mkdir()
    drawn = []
    with pytest.raises(RunError, match="folder"):
        write_results({"a": 1}, Path("-"), [{"b": 2}], tmp_path / "folder", lambda: drawn.append(1))
    assert json.loads(capsys.readouterr().out) == {"a": 1} and drawn == [1]


def test_names_on_standard_output_cannot_control_the_terminal(tmp_path, capsys):
    name = "a\x1b[31mb\x7f,\u202egnp.png"
    rows = [{"image": name, "bits_per_dim": "1.0"}]
    write_results({"image": name}, Path("-"))
    printed = capsys.readouterr().out
    assert json.loads(printed) == {"image": name} and printed.isascii() and not set(printed) & {"\x1b", "\x7f"}
    write_results({}, None, rows, Path("-"))
    assert capsys.readouterr().out == 'image,bits_per_dim\n"a\\x1b[31mb\\x7f,\\u202egnp.png",1.0\n'
    write_results({"image": name}, tmp_path / "x.json", rows, tmp_path / "x.csv")
    assert json.loads((tmp_path / "x.json").read_text()) == {"image": name}
    assert (tmp_path / "x.csv").read_text() == f'image,bits_per_dim\n"{name}",1.0\n'
