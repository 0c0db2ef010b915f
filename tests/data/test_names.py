"""Names of data sets: one list for help texts, loaders and errors."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from nelbo.data.names import (
    ARRAY_ENDINGS,
    BUILT_IN,
    IMAGE_ENDINGS,
    KNOWN_DENSITY,
    KNOWN_SCORE,
    TOY_NAMES,
    absolute_spec,
    read_range,
    read_size,
    written_size,
)
from nelbo.data.toy_sets import TOYS
from nelbo.errors import ConfigurationError


def test_every_toy_name_has_a_distribution() -> None:
    assert tuple(TOYS) == TOY_NAMES
    assert set(KNOWN_SCORE) <= set(KNOWN_DENSITY) <= set(TOY_NAMES)


def test_absolute_spec_keeps_names_and_resolves_paths(tmp_path: Path) -> None:
    assert [absolute_spec(name) for name in BUILT_IN] == list(BUILT_IN)
    assert absolute_spec("photos/{0..9}.tar") == f"{Path.cwd()}/photos/{{0..9}}.tar"
    assert absolute_spec(f"{tmp_path}/a/..") == str(tmp_path.resolve())


def test_names_import_no_torch() -> None:
    code = "import sys, nelbo.data.names; sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], env=os.environ, check=False).returncode == 0


def test_endings_are_lower_case_with_a_dot() -> None:
    assert all(ending.startswith(".") and ending == ending.lower() for ending in IMAGE_ENDINGS + ARRAY_ENDINGS)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (None, None),
        (64, 64),
        ("64", 64),
        ((48, 64), (48, 64)),
        ([48, 64], (48, 64)),
        (np.int64(64), 64),
        ((np.uint8(48), np.int32(64)), (48, 64)),
        ("64x48", (48, 64)),
        (" 64X48 ", (48, 64)),
        ("64\u00d748", (48, 64)),
    ],
)
def test_sizes_are_read_and_written(given: object, expected: object) -> None:
    assert read_size(given) == expected  # type: ignore[arg-type]
    assert expected is None or read_size(written_size(expected)) == expected  # type: ignore[arg-type]


def test_numbers_of_numpy_become_those_of_python() -> None:
    assert type(read_size(np.int64(64))) is int
    low, high = read_range((np.int64(0), np.float32(0.5)))
    assert (low, high) == (0.0, 0.5) and type(low) is type(high) is float


@pytest.mark.parametrize("given", [0, -1, 1.5, True, "0", "64x", "x64", "64x0", "64x48x3", "large", (64,) * 3, (64, 0)])
def test_other_sizes_are_refused(given: object) -> None:
    with pytest.raises(ConfigurationError, match=r"size is .*; expected a side in pixels, at least 1, such as 64, or"):
        read_size(given)  # type: ignore[arg-type]
