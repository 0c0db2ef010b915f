"""The engine ray gives the numbers of one process, also when workers are killed: nothing lost, nothing twice."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from nelbo import engines
from nelbo.engines import EngineOptions, ScoreJob, open_engine
from nelbo.errors import ConfigurationError, DataError, RunError
from nelbo.runs import DiffusionRun
from tests.engines.conftest import FallingJob
from tests.engines.test_scoring import QUICK, rows

pytestmark = pytest.mark.ray
TWO = EngineOptions("ray", workers=2)


def workers_environment() -> dict[str, str]:
    """The environment of processes that import the jobs of these tests."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[2]), *sys.path])}


@pytest.fixture(scope="module")
def started() -> Iterator[None]:
    """A Ray of two workers for all tests of this module, which the engine then uses."""
    import ray

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", workers_environment()["PYTHONPATH"])
        ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
        yield
        ray.shutdown()


@pytest.fixture
def expected(run: DiffusionRun, place: Path, tmp_path: Path) -> Path:
    """The folder of the same work by one process."""
    engines.score(run, place / "images.npy", tmp_path / "expected", **QUICK)
    return tmp_path / "expected"


def test_two_workers_give_the_files_of_one_process(started: None, place: Path, tmp_path: Path, expected: Path):
    report = engines.score(place / "run", place / "images.npy", tmp_path / "out", engine=TWO, **QUICK)
    assert rows(tmp_path / "out") == rows(expected) and report.computed == 7
    one = {file.name: file.read_bytes() for file in expected.iterdir()}
    assert {file.name: file.read_bytes() for file in (tmp_path / "out").iterdir()} == one
    assert engines.score(place / "run", place / "images.npy", expected, engine=TWO, **QUICK).computed == 0


def test_the_bound_is_that_of_one_process(started: None, place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Paths relative to the working folder of the caller reach workers that have another one."""
    monkeypatch.chdir(place)
    one = engines.evaluate("run", "pictures", tmp_path / "one", **QUICK)
    two = engines.evaluate("run", "pictures", tmp_path / "two", engine=TWO, **QUICK)
    assert torch.equal(one.scores, two.scores) and one.to_json() == two.to_json()


def test_killed_workers_lose_nothing_and_nothing_is_twice(
    started: None, place: Path, tmp_path: Path, expected: Path, monkeypatch: pytest.MonkeyPatch
):
    opened = ScoreJob
    monkeypatch.setattr(
        "nelbo.engines.scoring.ScoreJob", lambda *given: FallingJob(opened(*given), tmp_path, (0, 3, 6))
    )
    engines.score(place / "run", place / "images.npy", tmp_path / "out", engine=TWO, **QUICK)
    assert len(list(tmp_path.glob("[0-9].[0-9]"))) == 3  # each of three parts ended its worker once
    assert rows(tmp_path / "out") == rows(expected)


def test_a_part_that_ends_every_worker_is_an_error_and_the_others_stay(
    started: None, place: Path, tmp_path: Path, expected: Path, monkeypatch: pytest.MonkeyPatch
):
    opened = ScoreJob
    monkeypatch.setattr(
        "nelbo.engines.scoring.ScoreJob", lambda *given: FallingJob(opened(*given), tmp_path, (3,), 100)
    )
    with pytest.raises(RunError, match="a worker was lost 4 times at the same part"):
        engines.score(place / "run", place / "images.npy", tmp_path / "out", engine=TWO, **QUICK)
    monkeypatch.undo()
    there = len(list((tmp_path / "out").glob("*.parquet")))
    report = engines.score(place / "run", place / "images.npy", tmp_path / "out", **QUICK)
    assert there >= 3 and report.computed == 7 - there and rows(tmp_path / "out") == rows(expected)


class FaultyJob:
    """A job whose items from the third on are refused."""

    def open(self):
        def do(item: int) -> int:
            if item >= 2:
                raise DataError(f"item {item} is damaged.")
            return item

        return do


def test_errors_of_workers_are_those_of_this_process(started: None):
    with open_engine(TWO) as engine:
        results = engine.map(FaultyJob(), range(10))
        assert [next(results), next(results)] == [0, 1]
        with pytest.raises(DataError, match=r"^item 2 is damaged"):
            next(results)


class EchoJob:
    def open(self):
        return lambda item: item


def test_results_are_in_order_and_items_are_taken_as_workers_become_free(started: None):
    taken = list[int]()
    with open_engine(TWO) as engine:
        for done, result in enumerate(engine.map(EchoJob(), (taken.append(i) or i for i in range(60)))):
            assert result == done and len(taken) <= done + 2 * 8 + 1
    assert taken == list(range(60))


def test_more_workers_than_processors_are_refused(started: None):
    with (
        pytest.raises(ConfigurationError, match="workers is 3, and Ray has 2 processors"),
        open_engine(EngineOptions("ray", workers=3)),
    ):
        pass


def test_a_lost_worker_is_not_named_on_standard_output(place: Path, tmp_path: Path):
    """Where the results may be JSON; in another process, whose Ray is not that of these tests."""
    code = (
        "import sys; from pathlib import Path; from nelbo.engines import EngineOptions, open_engine\n"
        "from tests.engines.test_ray import OnceFallingJob\n"
        "with open_engine(EngineOptions('ray', workers=1)) as engine:\n"
        f"    results = list(engine.map(OnceFallingJob(Path({str(tmp_path)!r})), [7]))\n"
        "print(results)"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=workers_environment())
    assert found.stdout == "[7]\n" and (tmp_path / "fallen").exists(), found.stderr


class OnceFallingJob:
    """A job whose first worker is killed."""

    def __init__(self, memory: Path) -> None:
        self.memory = memory

    def open(self):
        def do(item: int) -> int:
            if not (self.memory / "fallen").exists():
                (self.memory / "fallen").touch()
                os.kill(os.getpid(), signal.SIGKILL)
            return item

        return do


def test_an_address_without_a_cluster_is_refused():
    """In another process, because Ray runs in this one."""
    code = (
        "from nelbo.engines import EngineOptions, open_engine\n"
        "with open_engine(EngineOptions('ray', address='127.0.0.1:1')): pass"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "address='127.0.0.1:1': no Ray cluster was reached" in found.stderr
