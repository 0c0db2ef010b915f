"""The processes that `accelerate launch` or torchrun start: the place of this one, and what they exchange.

The place comes from environment variables, so importing this module loads neither torch nor accelerate.
"""

import os
import sys
from dataclasses import dataclass
from typing import TypeVar

Value = TypeVar("Value")
PLACE = (("RANK", "0"), ("WORLD_SIZE", "1"), ("LOCAL_RANK", "0"))  # variable, and its value without a launcher


@dataclass(frozen=True)
class Processes:
    """The place of this process among all processes.

    Attributes:
        index: number of this process, 0..count-1.
        count: number of processes.
        local: number of this process on its machine, from 0.
    """

    index: int
    count: int
    local: int = 0

    @classmethod
    def here(cls) -> "Processes":
        """Return the place that the launcher set in the environment; process 0 of 1 without a launcher."""
        index, count, local = (int(os.environ.get(*each)) for each in PLACE)
        return cls(index, count, local)

    @property
    def device(self) -> str | None:
        """The GPU of this process, such as "cuda:1"; None for a single process or without a GPU."""
        if self.count == 1:
            return None
        import torch

        return f"cuda:{self.local}" if torch.cuda.is_available() else None

    def meet(self) -> None:
        """Connect the processes.

        Call it before anything that can fail in one process alone: a connected process notices when another one ends.
        """
        if self.count > 1:
            import torch
            from accelerate import PartialState

            PartialState(cpu=not torch.cuda.is_available())

    def union(self, parts: dict[int, Value]) -> dict[int, Value]:
        """Return the items of all processes, sorted by key; every process gets the same dictionary."""
        if self.count > 1:
            self.meet()
            from accelerate.utils import gather_object

            parts = dict(gather_object(list(parts.items())))
        return dict(sorted(parts.items()))


def is_first_process() -> bool:
    """Whether this process is the only one, or number 0 of those that a launcher started."""
    return Processes.here().index == 0


def is_lost_process(error: Exception) -> bool:
    """Whether an error only reports that another process has ended."""
    import torch

    lost = "Connection closed by peer", "Connection reset by peer", "Broken pipe"  # Gloo raises a plain RuntimeError
    return isinstance(error, torch.distributed.DistError) or any(words in str(error) for words in lost)


def leave_processes() -> None:
    """Close the connection between the processes, if there is one. A launched program calls this last.

    If the interpreter ends before the connection is closed, a thread of Gloo may still hold tensors; releasing them
    then aborts the process (https://github.com/pytorch/pytorch/pull/179291), in about one run of a hundred. A program
    that fails must not call this: it could wait for processes that wait for it.
    """
    torch = sys.modules.get("torch")  # without torch no connection was opened
    if torch is not None and torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
