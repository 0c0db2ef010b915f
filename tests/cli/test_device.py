"""Nothing forgets where its tensors are: every command on a card in disguise (`tests.card`), without a card."""

import subprocess
import sys
from pathlib import Path


def test_every_command_on_a_card_in_disguise():
    """In a process of its own: PyTorch never forgets a device, and then no longer differentiates in a fork."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", Path(__file__).with_name("on_card.py")]
    outcome = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True)
    assert outcome.returncode == 0, outcome.stdout[-4000:] + outcome.stderr[-1000:]
    assert " passed" in outcome.stdout and "skipped" not in outcome.stdout
