"""The terminal, standard input and output that the user has: in the background, closed, or of another encoding."""

import io
import os
import subprocess
import sys

import pytest

from nelbo.cli import main
from nelbo.cli.console import Terminal, without_echo
from tests.conftest import write_pictures

termios = pytest.importorskip("termios")
BEGIN = """
import os, signal, sys, termios
from nelbo.cli.console import without_echo
def caret():
    return bool(termios.tcgetattr(0)[3] & termios.ECHOCTL)
"""
FOREGROUND = """
print(caret())
with without_echo():
    print(caret())
print(caret())
"""
BACKGROUND = """
child = os.fork()
if child == 0:
    os.setpgid(0, 0)
    with without_echo():
        pass
    os._exit(0)
_, status = os.waitpid(child, os.WUNTRACED)
os.WIFSTOPPED(status) and os.kill(child, signal.SIGKILL)
print(os.WIFEXITED(status))
"""
MOVED = """
child = os.fork()
if child == 0:
    os.setpgid(0, 0)
    signal.signal(signal.SIGTTOU, signal.SIG_IGN)
    os.tcsetpgrp(0, os.getpgrp())
    signal.signal(signal.SIGTTOU, signal.SIG_DFL)
    with without_echo():
        os.tcsetpgrp(0, os.getppid())
    os._exit(0)
_, status = os.waitpid(child, os.WUNTRACED)
os.WIFSTOPPED(status) and os.kill(child, signal.SIGKILL)
print(os.WIFEXITED(status))
"""
CLOSED = """
signal.signal(signal.SIGHUP, signal.SIG_IGN)
with without_echo():
    print("inside", flush=True)
    try:
        os.read(0, 1)
    except OSError:
        pass
print("after")
"""


def begin(script: str) -> tuple[subprocess.Popen[str], int]:
    """Start a program as the first of a session with a new terminal on standard input; return it and the terminal."""
    import fcntl

    master, slave = os.openpty()
    child = subprocess.Popen(
        [sys.executable, "-c", BEGIN + script],
        stdin=slave,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
    )
    os.close(slave)
    return child, master


def printed_by(script: str) -> list[str]:
    child, master = begin(script)
    out, _ = child.communicate(timeout=300)
    os.close(master)
    assert child.returncode == 0
    return out.split()


def test_terminal_does_not_write_a_signal_into_a_bar():
    """ECHOCTL, which writes ^C, is off inside the block only."""
    assert printed_by(FOREGROUND) == ["True", "False", "True"]


@pytest.mark.parametrize("script", [BACKGROUND, MOVED], ids=["started with &", "moved by Ctrl-Z and bg"])
def test_process_in_the_background_is_not_stopped(script):
    assert printed_by(script) == ["True"]


def test_closed_terminal_ends_no_command():
    child, master = begin(CLOSED)
    assert child.stdout.readline() == "inside\n"
    os.close(master)
    assert child.communicate(timeout=300)[0] == "after\n" and child.returncode == 0


def test_closed_standard_input_is_no_terminal(monkeypatch):
    monkeypatch.setattr(sys, "stdin", None)
    with without_echo():
        pass


@pytest.mark.parametrize("failure", [OSError(5, "Input/output error"), BrokenPipeError(32, "Broken pipe")])
def test_note_that_cannot_be_written_ends_no_work(monkeypatch, failure):
    class Broken(io.StringIO):
        def write(self, text):
            raise failure

    monkeypatch.setattr(sys, "stderr", Broken())
    Terminal(stderr=True).print("a note")
    monkeypatch.setattr(sys, "stdout", Broken())
    if not isinstance(failure, BrokenPipeError):  # for which Rich ends the program
        with pytest.raises(OSError):
            Terminal().print("a result")


def called(monkeypatch, encoding: str, *arguments: object) -> bytes:
    """Call the command line with strict standard output of this encoding, and return what it printed."""
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding, write_through=True))
    monkeypatch.setattr(sys, "argv", ["nelbo", *map(str, arguments)])
    with pytest.raises(SystemExit) as end:
        main()
    assert not end.value.code
    return written.getvalue()


def test_names_that_the_terminal_cannot_encode_are_escaped(monkeypatch, tmp_path):
    monkeypatch.setenv("COLUMNS", "400")
    place = write_pictures(tmp_path / "café", 2)
    shown = called(monkeypatch, "ascii", "data", place)
    assert b"caf\\xe9" in shown and b"8x8: 2" in shown
    (place / "a\udcff.png").write_bytes(b"")  # a name of one byte that is not UTF-8
    place.rename(tmp_path / "caf\udce9")
    shown = called(monkeypatch, "utf-8", "data", tmp_path / "caf\udce9")
    assert shown.count(b"caf\\xe9") >= 2 and b"a\\xff.png" in shown
