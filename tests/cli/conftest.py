"""The command line, called in this process."""

import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from nelbo.cli import main
from nelbo.codec import FittingOptions
from tests.codec.conftest import tiny_codec_folder
from tests.conftest import write_pictures

TINY = [
    *("--steps", "4", "--batch-size", "4", "--precision", "fp32", "--seed", "1"),
    *(
        part
        for setting in (
            "schedule.num_steps=10",
            "parameterization=noise",  # the preset's grid of 256 levels would take most of the time
            "loss=simple",
            "network.base=8",
            "network.groups=4",
            "network.multipliers=[1,2]",
            "network.blocks=1",
            "network.attention=[]",
            "network.fourier=[]",
            "network.slopes=[]",
            "training.log_every=2",
            "training.preview_every=4",  # figures take longer than the four steps
        )
        for part in ("--set", setting)
    ),
]


@dataclass
class Outcome:
    code: int
    out: str
    err: str


@pytest.fixture
def nelbo_cli(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Callable[..., Outcome]:
    """`nelbo_cli("train", "--data", ...)`: returns exit code and output. The working folder belongs to the test."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "400")
    monkeypatch.setattr(warnings, "showwarning", warnings.showwarning)

    def call(*arguments: object) -> Outcome:
        monkeypatch.setattr(sys, "argv", ["nelbo", *map(str, arguments)])
        capsys.readouterr()
        try:
            main()
            code = 0
        except SystemExit as leaving:
            code = int(leaving.code or 0)
        printed = capsys.readouterr()
        assert "Traceback" not in printed.err + printed.out
        return Outcome(code, printed.out, printed.err)

    return call


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run trained on 24 PNGs of two classes; they are in `pictures` beside it."""
    return trained_in(tmp_path_factory.mktemp("cli"))


@pytest.fixture(scope="session")
def unconditional(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run like `trained`, without classes."""
    return trained_in(tmp_path_factory.mktemp("unconditional"), "--unconditional")


@pytest.fixture(scope="session")
def with_codec(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run on digits of 17 levels that can compress."""
    return tiny_codec_folder(tmp_path_factory)


@pytest.fixture
def quick_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let `nelbo codec` use few images and steps."""
    make = FittingOptions.__init__
    few = {"table_images": 8, "sent_images": 4, "trial_steps": 3}
    monkeypatch.setattr(FittingOptions, "__init__", lambda self, **given: make(self, **{**few, **given}))


def trained_in(place: Path, *options: str) -> Path:
    """Train in `place`, and return the run folder."""
    pictures = write_pictures(place / "pictures", 24, classes=2)
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        command = ["nelbo", "train", "--data", str(pictures), "--out", str(place / "run"), *TINY, *options]
        patch.setattr(sys, "argv", command)
        patch.setattr(warnings, "showwarning", warnings.showwarning)
        with pytest.raises(SystemExit) as leaving:
            main()
    assert not leaving.value.code
    return place / "run"
