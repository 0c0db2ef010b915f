"""The scores of a part of a set as one Parquet file: a row for each image, and the sums of the part as metadata."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nelbo.display import Brief
from nelbo.errors import ConfigurationError, RunError
from nelbo.evaluation import BoundSums, MeasuredBound
from nelbo.files import write_whole

TERMS = ("prior", "denoising", "decoder")
SUMS, BY_STEP = b"nelbo.sums", b"nelbo.by_step"  # keys of the metadata


def require_parquet() -> Any:
    """Return the module that reads and writes Parquet.

    Raises:
        ConfigurationError: pyarrow is not installed.
    """
    try:
        import pyarrow.parquet
    except ImportError as error:
        raise ConfigurationError(
            "scores by parts are Parquet files, which need the package pyarrow; install it by `pip install "
            "'nelbo[parquet]'`."
        ) from error
    return pyarrow.parquet


@dataclass(frozen=True, eq=False)
class PartScores(Brief):
    """The scores of a part.

    Attributes:
        first: index of its first image in the set.
        names: the names of its images.
        scores: (n,) float64, bits/dim.
        sums: the sums over its images.
    """

    first: int
    names: Sequence[str]
    scores: Tensor
    sums: BoundSums


def write_part(path: Path, first: int, names: Sequence[str], measured: MeasuredBound) -> None:
    """Write the scores of a part, completely or not at all.

    The columns are index (in the set), image (its name), bits_per_dim and its terms prior, denoising and decoder.

    Raises:
        RunError: the file cannot be written.
        ConfigurationError: pyarrow is not installed.
    """
    import pyarrow

    parquet, sums = require_parquet(), measured.sums
    columns = {"index": np.arange(first, first + len(names)), "image": list(names)}
    columns |= {"bits_per_dim": measured.scores.numpy()}
    columns |= dict(zip(TERMS, measured.terms.T.numpy(), strict=True))
    plain = {"num_images": sums.num_images, "terms": sums.terms.tolist(), "squares": sums.squares}
    plain |= {"draw_variance": sums.draw_variance, "dims": sums.dims}
    metadata = {SUMS: json.dumps(plain).encode(), BY_STEP: sums.by_step.numpy().astype("<f8").tobytes()}
    table = pyarrow.table(columns).replace_schema_metadata(metadata)
    write_whole(path, lambda temporary: parquet.write_table(table, temporary))


def read_part(path: Path) -> PartScores:
    """Read the scores of a part.

    Raises:
        RunError: the file is missing or damaged.
        ConfigurationError: pyarrow is not installed.
    """
    import pyarrow

    try:
        table = require_parquet().read_table(path)
        metadata = table.schema.metadata or {}
        plain = json.loads(metadata[SUMS])
        by_step = torch.from_numpy(np.frombuffer(metadata[BY_STEP], "<f8").reshape(4, -1).copy())
        terms = torch.tensor(plain["terms"], dtype=torch.float64)
        own = plain["num_images"], terms, plain["squares"], plain["draw_variance"], by_step, plain["dims"]
        sums = BoundSums(*own)
        scores = torch.from_numpy(table["bits_per_dim"].to_numpy().copy())
        return PartScores(table["index"][0].as_py(), table["image"].to_pylist(), scores, sums)
    except (OSError, pyarrow.ArrowException, KeyError, ValueError, TypeError, IndexError) as error:
        raise RunError(
            f"{path} is missing or damaged ({type(error).__name__}); delete it and repeat the command, which computes "
            "this part again."
        ) from error
