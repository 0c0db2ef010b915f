"""The processes that `accelerate launch` or torchrun started: which of them this is, and what they pass on."""

import os
from dataclasses import dataclass
from typing import TypeVar

import torch
from accelerate import PartialState
from accelerate.utils import gather_object

Value = TypeVar("Value")
PLACE = (("RANK", "0"), ("WORLD_SIZE", "1"), ("LOCAL_RANK", "0"))  # in the environment, and without a launcher


@dataclass(frozen=True)
class Processes:
    """This process among all.

    Attributes:
        index, count: this is process `index` of 0..count-1.
        local: its number among those of its machine.
    """

    index: int
    count: int
    local: int = 0

    @classmethod
    def here(cls) -> "Processes":
        """As the launcher tells it in the environment: 0 of 1 without one."""
        index, count, local = (int(os.environ.get(*each)) for each in PLACE)
        return cls(index, count, local)

    @property
    def device(self) -> str | None:
        """The graphics card of this process; None where it is alone or there is none."""
        if self.count == 1 or not torch.cuda.is_available():
            return None
        return f"cuda:{self.local}"

    def meet(self) -> None:
        """Open the way between them: before any of them may fail, so that the others notice when it ends."""
        if self.count > 1:
            PartialState(cpu=not torch.cuda.is_available())

    def union(self, parts: dict[int, Value]) -> dict[int, Value]:
        """What all processes hold, by number, in order; every process is given it."""
        if self.count > 1:
            self.meet()
            parts = dict(gather_object(list(parts.items())))
        return dict(sorted(parts.items()))


def is_first_process() -> bool:
    """Whether this process is the only one, or the first of those that torchrun or accelerate launch started."""
    return Processes.here().index == 0


def is_lost_process(error: Exception) -> bool:
    """Whether an error only says that another process is gone."""
    lost = "Connection closed by peer", "Connection reset by peer", "Broken pipe"  # of Gloo's, in a plain RuntimeError
    return isinstance(error, torch.distributed.DistError) or any(words in str(error) for words in lost)


def leave_processes() -> None:
    """Close the way between the processes, if one was opened: the last thing that a launched program does.

    Where the interpreter ends before it is closed, Gloo's threads may still hold tensors, whose release aborts the
    process (https://github.com/pytorch/pytorch/pull/179291), once in some hundred runs. A program that fails must not
    call it: it could wait for processes that wait for it.
    """
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
