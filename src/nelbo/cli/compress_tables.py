"""Tables of `nelbo compress`: file sizes, and the comparison with the bound."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from rich.table import Table

from nelbo.cli.console import out, say, show
from nelbo.cli.results import prints_table, versioned, write_results

if TYPE_CHECKING:
    from nelbo.cli.compress_files import Coded
    from nelbo.cli.compress_images import Known
    from nelbo.codec import CodecReport


def show_sizes(images: list[Known], files: list[Coded], report: CodecReport | None, json: Path | None) -> None:
    """Print and write the file sizes, and the report if there is one."""
    rows = [
        {
            "image": image.name,
            "bytes": file.num_bytes,
            "bits_per_dim": 8 * file.num_bytes / image.num_dims,
            "raw": file.raw,
        }
        for image, file in zip(images, files, strict=True)
    ]
    if prints_table(json):
        _print_sizes(images, files)
        if report is not None:
            show_report(report)
    write_results(versioned({"files": rows, "report": None if report is None else report.to_json()}), json)


def _print_sizes(images: list[Known], files: list[Coded]) -> None:
    num, raw = len(files), sum(file.raw for file in files)
    num_bytes, dims = sum(file.num_bytes for file in files), sum(image.num_dims for image in images)
    show(
        f"{num} image{'s' if num > 1 else ''}, {num_bytes:,} bytes, {8 * num_bytes / dims:.4f} bits/dim"
        f"{f'; {raw} stored without the model' if raw else ''}"
    )


def show_report(report: CodecReport) -> None:
    """Print the parts of the files beside the bound."""
    table = Table(title=f"{report.num_images} images", title_justify="left")
    table.add_column("part")
    table.add_column("bits/dim", justify="right")
    for name, value in report.rows().items():
        table.add_row(name, f"{value:.4f}")
    out.print(table)
    say(
        f"{report.chunks:.1f} chunks per image; the files take {report.total / report.bound:.3f} times the bound, and "
        f"{report.total / report.strided_bound:.3f} times the bound of the strided chain"
    )
