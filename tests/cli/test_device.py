"""No command mixes devices: every command on a simulated card (`tests.card`), on machines without a GPU."""

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
def test_every_command_on_a_simulated_card():
    """Run in a separate process: once a device is registered, PyTorch cannot differentiate in a forked process."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", Path(__file__).with_name("on_card.py")]
    outcome = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True)
    assert outcome.returncode == 0, outcome.stdout[-4000:] + outcome.stderr[-1000:]
    assert " passed" in outcome.stdout and "skipped" not in outcome.stdout
