"""Signals and errors of the system end a command in one line."""

import os
import signal

import pytest

from nelbo.cli import app
from nelbo.cli.ending import Ended, ended_by_signals
from nelbo.studies.session import Session
from tests.cli.conftest import TINY


@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP"])
def test_signal_ends_by_an_exception(name):
    number = getattr(signal, name)
    before, steps = signal.signal(number, signal.SIG_DFL), []  # nohup sets SIGHUP to be ignored
    with pytest.raises(Ended) as end, ended_by_signals():
        try:
            os.kill(os.getpid(), number)
        finally:
            if name == "SIGHUP":
                os.kill(os.getpid(), number)  # a shell sends it once more
            steps.append("restored")
    restored = signal.signal(number, before)
    assert (end.value.code, steps) == (128 + number, ["restored"])
    assert restored == signal.SIG_DFL


def test_ignored_signal_stays_ignored(monkeypatch):
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with ended_by_signals():
            os.kill(os.getpid(), signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)


def test_several_processes_keep_the_action_of_the_system(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with ended_by_signals():
        assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


@pytest.mark.parametrize(("name", "code"), [("SIGINT", 130), ("SIGTERM", 143)])
def test_stopped_calibration_says_how_to_resume(nelbo_cli, pictures, monkeypatch, name, code):
    def stopped(session, step):
        session.listener.on_stage("calibrating", 0, 2)
        if name == "SIGINT":
            raise KeyboardInterrupt
        os.kill(os.getpid(), signal.SIGTERM)

    place = pictures()
    monkeypatch.setattr(Session, "prepare", stopped)
    done = nelbo_cli("train", "--data", place, "--out", "run", *TINY)
    assert done.code == code
    assert done.err.splitlines()[-1] == "stopped while calibrating; the same command resumes"


def test_stop_before_the_run_begins_does_not_promise_to_resume(nelbo_cli, monkeypatch):
    def interrupted(*arguments, listener, **options):
        listener.on_stage("reading images", 0, 2)
        raise KeyboardInterrupt

    monkeypatch.setattr("nelbo.train", interrupted)
    done = nelbo_cli("train", "--data", "photos", "--out", "run")
    assert done.code == 130
    assert done.err.splitlines()[-1] == "stopped while reading images; the same command starts again"


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (
            PermissionError(13, "Permission denied", "x/y.png"),
            "x/y.png could not be read or written: Permission denied;",
        ),
        (OSError(28, "No space left on device"), "reading or writing failed: No space left on device."),
    ],
)
def test_error_of_the_system_is_one_sentence(nelbo_cli, monkeypatch, error, said):
    def failing(*names):
        raise error

    monkeypatch.setattr(app, "program", failing)
    done = nelbo_cli("info")
    assert (done.code, len(done.err.splitlines())) == (2, 1)
    assert done.err.startswith(f"error: {said}")
