"""The wheel, installed into an environment of its own."""

import subprocess
import sys
import sysconfig
from pathlib import Path

ROOT = Path(__file__).parents[1]
QUIET = ("--no-deps", "--disable-pip-version-check", "--quiet")


def wheel_in(place: Path) -> Path:
    """Build the wheel into a folder without the network."""
    _run(sys.executable, "-m", "pip", "wheel", *QUIET, "--no-build-isolation", "--wheel-dir", place, ROOT)
    (wheel,) = place.glob("nelbo-*.whl")
    return wheel


def installed_in(home: Path, wheel: Path) -> Path:
    """Install a wheel into a new environment and return its folder of commands.

    PyTorch and the other dependencies come from the environment of the tests.
    """
    _run(sys.executable, "-m", "venv", home)
    python = home / "bin" / "python"
    _run(python, "-m", "pip", "install", *QUIET, "--no-index", wheel)
    packages = Path(_run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip())
    (packages / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return home / "bin"


def _run(*command: str | Path) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout
