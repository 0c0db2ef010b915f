"""How long work reports its progress."""

from collections.abc import Callable

Progress = Callable[[int, int], None]
"""Called with (done, total)."""

StageProgress = Callable[[str, int, int], None]
"""Called with (stage, done, total), for work of several stages."""


def no_stages(stage: str, done: int, total: int) -> None:
    """Report to nobody: the default where a caller passes no `StageProgress`."""
