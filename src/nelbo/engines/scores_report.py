"""The scores of many images, in the files of their parts."""

import heapq
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from nelbo.display import Displayed, Frame, counted, data_frame, with_error
from nelbo.engines.part_files import PartScores, read_part
from nelbo.engines.parts_folder import PartsFolder
from nelbo.evaluation import BoundSums

MOST_NAMED = 10  # images with the highest scores


@dataclass(frozen=True)
class ScoredImage:
    """An image with its score.

    Attributes:
        index: in the set.
        image: its name.
        bits_per_dim: its score.
    """

    index: int
    image: str
    bits_per_dim: float


@dataclass(frozen=True, eq=False)
class ScoresReport(Displayed):
    """Scores in bits/dim of images, in the Parquet files of a folder. The report has their sums, not the scores.

    Attributes:
        folder: the folder and its parts.
        sums: the sums over all images.
        highest: up to 10 images with the highest scores, highest first; of equal scores, the lower index first.
        lowest: the image with the lowest score.
        computed: number of parts that were computed now; the others were there.
    """

    folder: PartsFolder
    sums: BoundSums
    highest: list[ScoredImage]
    lowest: ScoredImage
    computed: int = field(default=0)

    @property
    def num_images(self) -> int:
        """N."""
        return self.sums.num_images

    @property
    def total(self) -> float:
        """The mean of the scores, in bits/dim."""
        return self.sums.total

    @property
    def standard_error(self) -> float:
        """Of `total` as an estimate for the population of the images, in bits/dim."""
        return self.sums.standard_error

    def parts(self) -> Iterator[PartScores]:
        """Read the scores, one part after the other.

        Raises:
            RunError: a file is missing or damaged.
        """
        return (read_part(self.folder.file(part)) for part in self.folder.parts())

    @property
    def scores(self) -> Tensor:
        """The scores of all images, (N,) float64, read from the files."""
        return torch.cat([part.scores for part in self.parts()])

    def summary(self) -> Mapping[str, str]:
        """Return the mean, the extremes, and where the scores are."""
        top = self.highest[0]
        return {
            "mean": f"{with_error(self.total, self.standard_error)}, {counted(self.num_images, 'image')}",
            "highest": f"{top.bits_per_dim:.4f} bits/dim, {top.image}",
            "lowest": f"{self.lowest.bits_per_dim:.4f} bits/dim, {self.lowest.image}",
            "scores": f"{self.folder.path} ({counted(self.folder.num_parts, 'Parquet file')})",
        }

    def to_json(self) -> dict[str, Any]:
        """Return plain values: the mean, the highest scores, and the folder."""
        return {
            "bits_per_dim": {"total": self.total, "standard_error": self.standard_error},
            "num_images": self.num_images,
            "highest": [vars(each) for each in self.highest],
            "lowest": vars(self.lowest),
            "folder": str(self.folder.path),
        }

    def to_pandas(self) -> Frame:
        """Return all scores as a data frame of pandas, a row for each image: the columns image and bits_per_dim.

        Raises:
            ConfigurationError: pandas is not installed.
        """
        names = [name for part in self.parts() for name in part.names]
        return data_frame({"image": names, "bits_per_dim": self.scores.tolist()})


def report_of(folder: PartsFolder, computed: int) -> ScoresReport:
    """Read the parts in order, one in memory at a time, and return their report: it does not depend on the engine.

    Raises:
        RunError: a part is missing or damaged.
    """
    sums: BoundSums | None = None
    highest, lowest = list[ScoredImage](), list[ScoredImage]()
    for part in folder.parts():
        found = read_part(folder.file(part))
        sums = found.sums if sums is None else sums + found.sums
        named = zip(range(part.first, part.end), found.names, found.scores.tolist(), strict=True)
        images = [ScoredImage(*each) for each in named]
        highest = heapq.nsmallest(MOST_NAMED, [*highest, *images], lambda each: (-each.bits_per_dim, each.index))
        lowest = [min([*lowest, *images], key=lambda each: (each.bits_per_dim, each.index))]
    assert sums is not None  # a set has an image, as `score` checks
    return ScoresReport(folder, sums, highest, lowest[0], computed)
