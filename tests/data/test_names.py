"""Names of data sets: one list for help texts, loaders and errors."""

import os
import subprocess
import sys
from pathlib import Path

from nelbo.data.names import (
    ARRAY_ENDINGS,
    BUILT_IN,
    IMAGE_ENDINGS,
    KNOWN_DENSITY,
    KNOWN_SCORE,
    TOY_NAMES,
    absolute_spec,
)
from nelbo.data.toy_sets import TOYS


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
