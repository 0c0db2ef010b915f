"""`~` is the home folder in every path, also where the shell leaves it: `--out=~/x`, and in Python."""

import json
from pathlib import Path

import pytest

import nelbo
from nelbo.errors import RunError
from nelbo.interop import export_model, import_model
from nelbo.paths import expanded
from nelbo.runs import bundled_models, find_run
from tests.cli.conftest import TINY


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home folder that is not the working folder."""
    place = tmp_path / "home"
    place.mkdir()
    monkeypatch.setenv("HOME", str(place))
    return place


def test_commands_write_and_read_below_home(nelbo_cli, pictures, home, tmp_path):
    options = ("--data", pictures(num=4), "--out=~/runs/p", *TINY, "--no-pictures")
    assert nelbo_cli("train", *options).code == 0
    assert (home / "runs" / "p" / "config.json").is_file()
    assert nelbo_cli("sample", "~/runs/p", "--num", 1, "--out=~/drawn/one.png").code == 0
    assert nelbo_cli("kl", "--example", "worms", "--json=~/kl.json").code == 0
    assert json.loads((home / "kl.json").read_text())["counts"]
    assert (home / "drawn" / "one.png").is_file() and not (tmp_path / "~").exists()


def test_counts_below_home_are_read(nelbo_cli, home):
    (home / "counts.csv").write_text("3\n2\n1\n")
    (home / "other.csv").write_text("1\n2\n3\n")
    done = nelbo_cli("kl", "~/counts.csv", "--against=~/other.csv")
    assert done.code == 0, done.err


def test_python_takes_the_home_folder_too(trained, home, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (home / "run").symlink_to(trained)
    assert nelbo.load("~/run").folder == home / "run"
    exported = export_model("~/run", "~/copy", format="nelbo")
    assert exported.place == str(home / "copy")
    assert import_model("~/copy", "~/back").folder == home / "back"
    with pytest.raises(RunError, match="holds no run to resume"):
        nelbo.train(None, "~/nothing")
    assert not (tmp_path / "~").exists()


def test_unknown_user_and_bundled_names_stay_as_typed(home):
    assert expanded("~nobody-of-this-name/x") == Path("~nobody-of-this-name/x")
    assert find_run("fashion-mnist") == bundled_models()["fashion-mnist"]
    with pytest.raises(RunError, match="'~nobody-of-this-name'"):
        find_run("~nobody-of-this-name")
