"""The clock of the quality benchmark: training of another library stops, resumes, and refuses another job."""

import os
import signal
import time
from dataclasses import replace

import pytest

from benchmarks.quality import clock
from benchmarks.quality.clock import STATE, Peer, train_peer
from benchmarks.quality.plan import Job
from nelbo.errors import RunError

MINUTES = 0.3 / 60  # 0.3 seconds


class Sleeper(Peer):
    """Sleeps in every step; at `stop_at` it sends a signal to this process."""

    version, num_parameters = "sleeper 1.0", 0

    def __init__(self, stop_at: int = -1) -> None:
        self.step, self.stop_at, self.saved = 0, stop_at, None
        self.fractions: list[float] = []

    def advance(self, fraction):
        time.sleep(0.02)
        self.step += 1
        self.fractions.append(fraction)
        if self.step == self.stop_at:
            os.kill(os.getpid(), signal.SIGTERM)

    def state(self):
        return {"step": self.step}

    def restore(self, state):
        self.step = state["step"]

    def save(self, place):
        self.saved = place


@pytest.fixture
def job(tmp_path) -> Job:
    return Job("a", "sleeper", {"x": 1}, "fp32", str(tmp_path), {"spec": "digits"}, MINUTES, 0, 1, 10)


def test_training_takes_its_minutes(job):
    peer = Sleeper()
    record = train_peer(peer, job)
    assert 0.3 <= record.seconds < 0.5
    assert record.steps == peer.step == len(peer.fractions) > 2
    assert peer.fractions == sorted(peer.fractions)
    assert peer.fractions[0] == 0
    assert peer.fractions[-1] < 1
    assert peer.saved == job.place


def test_stopped_training_resumes_with_its_time(job):
    first, second = Sleeper(stop_at=3), Sleeper()
    assert train_peer(first, job) is None
    assert first.saved is None
    record = train_peer(second, job)
    assert second.fractions[0] > 0.1
    assert record.steps == 3 + len(second.fractions)
    assert record.seconds < 0.5


def test_state_is_saved_while_training(job, monkeypatch):
    monkeypatch.setattr(clock, "SAVE_SECONDS", 0.1)

    class Killed(Sleeper):
        def advance(self, fraction):
            super().advance(fraction)
            if fraction > 0.7:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_peer(Killed(), job)
    second = Sleeper()
    train_peer(second, job)
    assert second.fractions[0] > 0.3


def test_state_of_another_job_is_refused(job):
    train_peer(Sleeper(), job)
    assert (job.place / STATE).exists()
    with pytest.raises(RunError, match=r"settings\.x: 1 stored, 2 given"):
        train_peer(Sleeper(), replace(job, settings={"x": 2}))
