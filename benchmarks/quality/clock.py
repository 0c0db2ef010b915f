"""Training of another library for a number of minutes, resumable: a checkpoint every minute, and the time so far."""

import os
import resource
import signal
import sys
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from benchmarks.quality.plan import Job
from nelbo.files import alone_in, write_json, write_whole
from nelbo.runs.folder import refuse_changes
from nelbo.training.signals import stop_signals

STATE, RECORD = "state.pt", "train.json"
SAVE_SECONDS, WATCH_SECONDS = 60.0, 1.0


class Peer(ABC):
    """A model in training by another library.

    Attributes:
        step: optimizer steps done.
        version: name and version of the library.
        num_parameters: number of trained parameters.
    """

    step: int
    version: str
    num_parameters: int

    @abstractmethod
    def advance(self, fraction: float) -> None:
        """Take one optimizer step; `fraction` of the training time is over."""

    @abstractmethod
    def state(self) -> dict[str, Any]:
        """Return everything that training resumes from: tensors and plain values."""

    @abstractmethod
    def restore(self, state: Mapping[str, Any]) -> None:
        """Restore what `state` returned."""

    @abstractmethod
    def save(self, place: Path) -> None:
        """Write the averaged weights, for sampling."""


@dataclass(frozen=True)
class Trained:
    """The record of a finished training, `train.json`.

    Attributes:
        steps: optimizer steps.
        seconds: training time over all sessions.
        parameters: number of trained parameters.
        peak_bytes: largest resident memory of the last session's process, without data workers.
        version: name and version of the library.
        machine: version of PyTorch, instructions and threads.
        job: what was trained.
    """

    steps: int
    seconds: float
    parameters: int
    peak_bytes: int
    version: str
    machine: str
    job: Mapping[str, Any]

    def save(self, place: Path) -> None:
        """Write the record."""
        write_json(place / RECORD, asdict(self))


def train_peer(peer: Peer, job: Job) -> Trained | None:
    """Train until the minutes are over, or resume; on SIGINT or SIGTERM, save and return None.

    Loading and saving do not count as training time.

    Raises:
        RunError: the folder holds the training of another job.
    """
    stopped: list[str] = []
    with alone_in(job.place), stop_signals(stopped.append):
        seconds, path = 0.0, job.place / STATE
        if path.exists():
            stored = torch.load(path, map_location="cpu", weights_only=True)
            refuse_changes(job.place, "a training", stored["job"], job.identity())
            peer.restore(stored["peer"])
            seconds = stored["seconds"]
        saved, budget = seconds, 60 * job.minutes
        while seconds < budget and not stopped:
            began = time.monotonic()
            peer.advance(seconds / budget)
            seconds += time.monotonic() - began
            if seconds - saved >= SAVE_SECONDS:
                _save(path, peer, job, seconds)
                saved = seconds
                say(job, peer.step, seconds)
        peak = peak_bytes()
        _save(path, peer, job, seconds)
        if stopped:
            return None
        peer.save(job.place)
        return Trained(peer.step, seconds, peer.num_parameters, peak, peer.version, machine(), job.identity())


def _save(path: Path, peer: Peer, job: Job, seconds: float) -> None:
    stored = {"peer": peer.state(), "seconds": seconds, "job": job.identity()}
    write_whole(path, lambda place: torch.save(stored, place))


def say(job: Job, step: int, seconds: float) -> None:
    """Print the progress."""
    print(f"{job}: step {step}, {seconds / 60:.1f} minutes of training", flush=True)


def peak_bytes() -> int:
    """Return the largest resident memory that this process had, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def machine() -> str:
    """Return the version of PyTorch, the instructions and the number of threads, in words."""
    return f"PyTorch {torch.__version__}, {torch.backends.cpu.get_cpu_capability()}, {torch.get_num_threads()} threads"


def stop_with_parent(parent: int) -> None:
    """Send SIGTERM to this process when its parent has ended, so that no training continues unnoticed."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(WATCH_SECONDS)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, daemon=True).start()
