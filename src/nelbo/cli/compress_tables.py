"""Tables of `nelbo compress`: file sizes, and the comparison with the bound."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from rich.table import Table

from nelbo.cli.console import out, say, show
from nelbo.cli.results import versioned, write_results
from nelbo.codec import RawImage

if TYPE_CHECKING:
    from nelbo.cli.compressed import File
    from nelbo.codec import CodecReport
    from nelbo.data import Picture


def show_sizes(pictures: list[Picture], files: list[File], report: CodecReport | None, json: Path | None) -> None:
    """Write and print the file sizes, and the report if there is one."""
    sizes = [len(file.to_bytes()) for file in files]
    rows = [
        {
            "image": picture.name,
            "bytes": size,
            "bits_per_dim": 8 * size / picture.pixels.numel(),
            "raw": isinstance(file, RawImage),
        }
        for picture, size, file in zip(pictures, sizes, files, strict=True)
    ]
    plain = None if report is None else report.to_json()
    if not write_results(versioned({"files": rows, "report": plain}), json):
        return
    num, raw = len(files), sum(isinstance(file, RawImage) for file in files)
    dims = sum(picture.pixels.numel() for picture in pictures)
    show(
        f"{num} image{'s' if num > 1 else ''}, {sum(sizes):,} bytes, {8 * sum(sizes) / dims:.4f} bits/dim"
        f"{f'; {raw} stored raw' if raw else ''}"
    )
    if report is not None:
        show_report(report)


def show_report(report: CodecReport) -> None:
    """Print the parts of the files beside the bound."""
    table = Table(title=f"{report.num_images} images", title_justify="left")
    table.add_column("part")
    table.add_column("bits/dim", justify="right")
    for name, value in (
        ("header, checks and hash", report.header),
        ("KL of the steps that are sent", report.divergence),
        (f"overhead of the channel ({report.chunks:.1f} chunks per image)", report.channel - report.divergence),
        ("lossless end", report.end),
        ("files", report.total),
        ("bound of the strided chain that is sent", report.strided_bound),
        ("bound of the full chain", report.bound),
    ):
        table.add_row(name, f"{value:.4f}")
    out.print(table)
    say(
        f"the files take {report.total / report.bound:.3f} times the bound, and "
        f"{report.total / report.strided_bound:.3f} times the bound of the strided chain"
    )
