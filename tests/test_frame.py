"""The installed package: one version, a complete wheel, all files present."""

import re
import subprocess
import tomllib
import zipfile
from importlib.metadata import requires, version
from pathlib import Path

import pytest

import nelbo
from tests.wheel import installed_in, wheel_in

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def shipped_files():
    """Return what a wheel must hold: every file of the package except caches, as paths inside the wheel."""
    files = [path.relative_to(ROOT / "src") for path in (ROOT / "src" / "nelbo").rglob("*") if path.is_file()]
    caches = ("__pycache__", ".")
    return {path.as_posix() for path in files if not any(part.startswith(caches) for part in path.parts)}


def git_ignores(paths):
    """Return the paths that git ignores, which a wheel would lack."""
    asked = subprocess.run(
        ["git", "check-ignore", "--no-index", "--stdin"],
        cwd=ROOT,
        input="\n".join(paths),
        text=True,
        capture_output=True,
    )
    if asked.returncode not in (0, 1):
        pytest.skip("not a git checkout")
    return asked.stdout.split("\n")[:-1]


def run(*command, **options):
    return subprocess.run(command, capture_output=True, text=True, check=True, **options).stdout


def test_there_is_one_version():
    assert nelbo.__version__ == version("nelbo") == PROJECT["project"]["version"]


def test_every_dependency_is_pinned_torch_first():
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = [line.split("==")[0] for line in lines if line and not line.startswith("#")]
    extras = PROJECT["project"]["optional-dependencies"].values()
    asked = [name for group in [PROJECT["project"]["dependencies"], *extras] for name in group]
    names = {re.split(r"[<>=\[]", name)[0] for name in asked} - {"nelbo"}
    assert pins[0] == "torch"
    assert names <= set(pins)
    assert "torchvision" not in pins


def test_nelbo_itself_needs_no_test_tool():
    needed = {line.split(">=")[0] for line in requires("nelbo") if "extra ==" not in line}
    light = {"torch", "numpy", "pillow", "safetensors", "filelock", "accelerate", "typer", "rich", "matplotlib"}
    light |= {"lazy-loader", "annotated-doc"}
    assert needed == light


def test_git_keeps_types_and_data():
    files = shipped_files()
    assert {"nelbo/py.typed", "nelbo/data/digits.npz", "nelbo/data/digits.LICENCE.md"} <= files
    bundled = ["src/nelbo/models/any/model.safetensors", "src/nelbo/models/any/config.json"]
    assert git_ignores([*(f"src/{name}" for name in files), *bundled]) == []
    assert git_ignores(["runs/digits/model.safetensors"]) == ["runs/digits/model.safetensors"]


@pytest.mark.slow
def test_the_wheel_runs_without_the_source(tmp_path):
    wheel = wheel_in(tmp_path)
    with zipfile.ZipFile(wheel) as archive:
        packed = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert packed == shipped_files()

    commands = installed_in(tmp_path / "venv", wheel)
    where = run(commands / "python", "-c", "import nelbo; print(nelbo.__file__)", cwd=tmp_path).strip()
    assert Path(where).is_relative_to(tmp_path / "venv")
    assert PROJECT["project"]["version"] in run(commands / "nelbo", "--version", cwd=tmp_path)
    assert "train" in run(commands / "nelbo", "--help", cwd=tmp_path)
