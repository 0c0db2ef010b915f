"""The images of `nelbo evaluate`: the held-out ones of a run, or those of --data."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from nelbo.cli.console import name_changes
from nelbo.display import counted
from nelbo.errors import ConfigurationError

if TYPE_CHECKING:
    from nelbo.data import ImageDataset, Reject
    from nelbo.evaluation import Baselines
    from nelbo.progress import Bars
    from nelbo.runs import Run


@dataclass(frozen=True)
class Evaluated:
    """The images to evaluate on, the number that there are, the skipped files, and the training images if read."""

    chosen: ImageDataset
    available: int
    rejects: list[Reject]
    train: ImageDataset | None = None

    @cached_property
    def baselines(self) -> Baselines:
        from nelbo.evaluation import baselines_of

        return baselines_of(self.chosen, self.train)

    @property
    def in_words(self) -> str:
        """The number of images, such as "8 of 13 images of photos (3 files skipped)"."""
        skipped = f" ({counted(len(self.rejects), 'file')} skipped)" if self.rejects else ""
        return f"{len(self.chosen)} of {self.available - len(self.rejects)} images of {self.chosen.name}{skipped}"

    def to_json(self) -> dict[str, Any]:
        rejects = [vars(reject) for reject in self.rejects]
        return {
            "fraction_of_images": len(self.chosen) / self.available,
            "rejects": rejects,
            "baselines": asdict(self.baselines),
        }


def evaluated(
    model: Run,
    data: str | None,
    resize: bool,
    num: int | None,
    bar: Bars,
    beside: dict[str, Any],
    in_place: bool = False,
) -> Evaluated:
    """Read the held-out images of the run, or those of --data with what lies beside them, and choose --num of them.

    With `in_place`, images of --data stay in their files. A file that cannot be read belongs to neither part of the
    run's own data, so no held-out image is missing.

    Raises:
        ConfigurationError: something beside images of --data, but no --data.
    """
    if data is None and any(beside.values()):
        raise ConfigurationError("--mask, --table and --condition-images belong to --data; give --data too.")
    from nelbo.data import Beside
    from nelbo.studies import Listener, data_of

    train = None
    if data is None:
        split = data_of(model, Listener(on_stage=bar))
        images, train = split.require_test(), split.train
        available = len(images)
    else:
        progress = bar.of("reading images")
        prepared = model.read(data, resize=resize, progress=progress, in_place=in_place, beside=Beside(**beside))
        images = prepared.images
        name_changes(prepared)
        available = len(images) + len(images.rejects)
    return Evaluated(images if num is None else images.spread(num), available, images.rejects, train)
