"""Files that an engine compresses are those of one process."""

from pathlib import Path

import pytest
import torch

from nelbo.data import load_data
from nelbo.engines import CompressJob, Compressor, EngineOptions, FileEnd, ProcessEngine, compress_batch, open_engine
from nelbo.errors import ConfigurationError, RunError
from tests.codec.conftest import tiny_codec_folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_codec_folder(tmp_path_factory)


def batches() -> list[list[torch.Tensor]]:
    return [list(some) for some in load_data("digits").test.images(range(7)).split(3)]


def job_of(folder: Path, **ending: object) -> tuple[CompressJob, list[list[bytes]]]:
    """A job, and what one process makes of the batches."""
    codec, end = Compressor.of(str(folder), 8, False, "cpu").codec, FileEnd(**ending)
    expected = [compress_batch(codec, batch, 2, end) for batch in batches()]
    return CompressJob(str(folder), 8, False, "cpu", codec.fingerprint.hex(), 2, end), expected


@pytest.mark.parametrize("ending", [{}, {"max_bytes": 12}, {"lossy_only": True}])
def test_a_job_makes_the_files_of_this_process(folder: Path, ending: dict[str, object]):
    job, expected = job_of(folder, **ending)
    assert list(ProcessEngine().map(job, batches())) == expected
    assert [len(each) for each in expected] == [3, 3, 1]
    if "max_bytes" in ending:
        assert max(len(content) for each in expected for content in each) <= 12


def test_a_worker_with_another_model_is_refused(folder: Path):
    with pytest.raises(RunError, match="is another model for a worker than for this process"):
        CompressJob(str(folder), 8, False, "cpu", "00", 2, FileEnd()).open()


def test_two_ends_of_a_file_are_refused():
    with pytest.raises(ConfigurationError, match="max_bytes and rmse each set the end of a file; keep one"):
        FileEnd(max_bytes=10, rmse=0)


@pytest.mark.ray
def test_workers_of_ray_make_the_same_files(folder: Path):
    job, expected = job_of(folder)
    with open_engine(EngineOptions("ray", workers=2)) as engine:
        assert list(engine.map(job, batches())) == expected
