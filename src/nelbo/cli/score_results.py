"""What `nelbo score` found: the images in order, as a table, as rows of a file, and as pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.table import Table

from nelbo.cli.console import bars
from nelbo.display import counted

if TYPE_CHECKING:
    from nelbo.data import ImageDataset
    from nelbo.evaluation import Decisions
    from nelbo.evaluation.decision_options import DecisionOptions
    from nelbo.runs import Run

MOST_SHOWN = 10  # images in the table, and the last one
LONGEST = 100  # characters of an image's name in that of a picture
FORMATS = {"bits_per_dim": ".5f", "complexity": ".5f", "p_value": ".5g", "p_two_sided": ".5g", "adjusted": ".5g"}
HEADS = {
    "bits_per_dim": "bits/dim",
    "complexity": "compressor",
    "p_value": "p-value",
    "p_two_sided": "two-sided",
    "adjusted": "adjusted",
}
WHOLE = ("bits_per_dim", "complexity")  # columns with three digits after the point


@dataclass(frozen=True)
class Ranking:
    """The scored images, the most unusual first: by the p-value that decides if there is one, then by bits/dim.

    Attributes:
        indices: where each of them was among the images that were read.
        rows: the name of each, as `image`, and its values.
        decisions: the decisions, or None if there are only scores.
    """

    indices: Sequence[int]
    rows: Sequence[Mapping[str, Any]]
    decisions: Decisions | None

    @classmethod
    def of(cls, names: Sequence[str], rows: Sequence[Mapping[str, Any]], decisions: Decisions | None) -> Ranking:
        """Put images in order."""
        deciding = [0.0] * len(rows) if decisions is None else decisions.deciding.tolist()
        indices = sorted(range(len(rows)), key=lambda i: (deciding[i], -rows[i]["bits_per_dim"]))
        return cls(indices, [{"image": names[i], **rows[i]} for i in indices], decisions)

    def written(self) -> list[dict[str, str]]:
        """Return the rows as text for a file."""
        return [{name: _text(name, value) for name, value in row.items()} for row in self.rows]

    def table(self) -> Table:
        """Return the first images and the last one."""
        mean = sum(row["bits_per_dim"] for row in self.rows) / len(self.rows)
        table = Table(title=f"{counted(len(self.rows), 'image')}, mean {mean:.3f} bits/dim{self._flagged()}")
        table.title_justify = "left"
        table.add_column("image", overflow="fold")
        heads = {name: head for name, head in HEADS.items() if name in self.rows[0]}
        for head in heads.values():
            table.add_column(head, justify="right")
        if self.decisions is not None:
            table.add_column("")
        shown = list(self.rows[:MOST_SHOWN]) + ([{}, self.rows[-1]] if len(self.rows) > MOST_SHOWN else [])
        for row in shown:
            cells = [_cell(name, row) for name in heads]
            unusual = ["unusual" if row.get("flagged") else ""] if self.decisions is not None else []
            table.add_row(row.get("image", "..."), *cells, *unusual)
        return table

    def _flagged(self) -> str:
        """The number of unusual images, for the title."""
        if self.decisions is None:
            return ""
        found = self.decisions
        against = f"compared with {counted(found.num_held_out, 'held-out image')}"
        return f"; {int(found.flagged.sum())} unusual at a false discovery rate of {found.fdr:g}, {against}"


def _cell(name: str, row: Mapping[str, Any]) -> str:
    """Write a value for the table; an empty row stands for the images that are not shown."""
    return format(row[name], ".3f" if name in WHOLE else ".3g") if row else "..."


def _text(name: str, value: Any) -> str:
    """Write a value for a file."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return format(value, FORMATS[name]) if name in FORMATS else str(value)


def draw_maps(run: Run, images: ImageDataset, ranking: Ranking, options: DecisionOptions, folder: Path) -> None:
    """Draw the bits of each pixel of every image into a folder; the number in a name is the place in the ranking."""
    import torch

    from nelbo.plots import heat_map_figure, save
    from nelbo.probability import levels_to_data
    from nelbo.runs import DiffusionRun

    assert isinstance(run, DiffusionRun)  # `refuse_chain_options` handles the other families
    total = len(ranking.rows)
    with bars() as bar:
        for place, (index, row) in enumerate(zip(ranking.indices, ranking.rows, strict=True), 1):
            [image], name = images.images([index]), Path(row["image"])
            one = images.subset(torch.tensor([index]))
            found = run.heat_map(one, seed=options.seed, steps_per_image=options.values_of_t, index=index)
            title = f"{name.name}: {found.total:.3f} bits/dim"
            figure = heat_map_figure(levels_to_data(image, run.levels), found.pixels, run.levels, title)
            save(figure, folder / f"{place:0{len(str(total))}d}-{name.stem[:LONGEST]}.png")
            bar("drawing the bits", place, total)
