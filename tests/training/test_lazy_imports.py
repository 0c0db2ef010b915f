"""Which heavy packages an import loads, each in a new interpreter."""

import subprocess
import sys
from dataclasses import fields

import pytest

from nelbo.options import help_of
from nelbo.studies import DataRequest, GridOptions
from nelbo.training import TrainerOptions

LISTED = "print(*sorted({'torch', 'accelerate', 'matplotlib'} & sys.modules.keys()))"
SAMPLED = """
run = nelbo.load("fashion-mnist")
run.sample(1, steps=1)
"""
FIRST = """
from nelbo.training import PRECISIONS, Processes, TrainerOptions, is_first_process, keep_freed_memory, leave_processes
assert is_first_process() and Processes.here().device is None
keep_freed_memory()
leave_processes()
"""


def loaded(program: str) -> list[str]:
    command = [sys.executable, "-c", f"import sys\nimport nelbo\n{program}\n{LISTED}"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()


@pytest.mark.parametrize(
    "program",
    [
        "",
        FIRST,
        "import nelbo.training.processes, nelbo.training.options, nelbo.training.memory",
        "from nelbo.studies import Cell, DataRequest, GridOptions, Listener, Table2, table2_cells",
    ],
    ids=["nelbo", "first process", "training", "studies"],
)
def test_options_and_processes_load_no_torch(program: str):
    assert loaded(program) == []


def test_every_name_is_reachable_after_importing_the_package():
    """Also the packages that nothing else imports, such as `nelbo.interop`."""
    program = "assert callable(nelbo.interop.export_model)\nfor name in nelbo.__all__: getattr(nelbo, name)"
    assert "torch" in loaded(program)


def test_sampling_loads_neither_accelerate_nor_matplotlib():
    assert loaded(SAMPLED) == ["torch"]


def test_importing_the_trainer_loads_no_accelerate():
    assert "accelerate" not in loaded("from nelbo import train\nfrom nelbo.training import Trainer")


@pytest.mark.parametrize("options", [TrainerOptions, GridOptions, DataRequest])
def test_every_option_has_help(options: type):
    assert all(help_of(options, field.name) for field in fields(options))
