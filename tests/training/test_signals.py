"""Signals as requests to stop."""

import os
import signal

import pytest

from nelbo.training.signals import stop_signals


@pytest.fixture
def hangup():
    """SIGHUP with its default action, also under nohup; its former action is restored after the test."""
    number = signal.SIGHUP
    before = signal.signal(number, signal.SIG_DFL)
    yield number
    signal.signal(number, before)


def test_a_lost_connection_asks_to_stop_once(hangup):
    """A terminal that is closed and its shell both send SIGHUP; a second signal would end training without saving."""
    names = list[str]()
    with stop_signals(names.append):
        os.kill(os.getpid(), hangup)
        os.kill(os.getpid(), hangup)
        assert names == ["SIGHUP"]
        os.kill(os.getpid(), signal.SIGTERM)
    assert names == ["SIGHUP", "SIGTERM"]


def test_a_hangup_that_is_ignored_stays_ignored(hangup):
    signal.signal(hangup, signal.SIG_IGN)
    with stop_signals(pytest.fail):
        os.kill(os.getpid(), hangup)
    assert signal.getsignal(hangup) == signal.SIG_IGN
