"""`nelbo studio`: what it refuses before it serves a page."""

import importlib.util
import socket

from nelbo.cli import studio as command


def test_missing_gradio_is_named(nelbo_cli, monkeypatch):
    found = importlib.util.find_spec
    monkeypatch.setattr(command, "find_spec", lambda name: None if name == "gradio" else found(name))
    outcome = nelbo_cli("studio", "--no-browser")
    assert outcome.code == 2 and "pip install 'nelbo[studio]'" in outcome.err


def test_missing_run_is_an_error(nelbo_cli):
    outcome = nelbo_cli("studio", "runs/nothing", "--no-browser")
    assert outcome.code == 2 and "no run folder or bundled model 'runs/nothing'" in outcome.err


def test_port_in_use_is_an_error(nelbo_cli):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        outcome = nelbo_cli("studio", "fashion-mnist", "--no-browser", "--port", port, "--device", "cpu")
    assert outcome.code == 2 and f"--port {port} cannot be used" in outcome.err
