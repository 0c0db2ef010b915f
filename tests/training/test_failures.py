"""What a data error, a failed preview or a full disk costs in training: no step."""

import errno
from pathlib import Path

import pytest
import torch

from nelbo.errors import DataError, RunError
from nelbo.files import WriteWarning
from nelbo.training import MetricsLog
from tests.training.conftest import assert_same_run, records_of, state_of

FULL = RunError("the file could not be written: the disk is full.")


@pytest.mark.parametrize(
    ("error", "message"),
    [(DataError("a.png is gone."), "a.png is gone"), (KeyError("a"), r"the images of step 4 cannot be read: KeyError")],
)
def test_unreadable_images_cost_no_step(trainer, tiny_data, tmp_path, error, message):
    dataset = tiny_data.subset(torch.arange(40))
    read, calls = dataset.images, []

    def images(indices):
        calls.append(indices)
        if len(calls) == 4:
            raise error
        return read(indices)

    dataset.images = images
    with pytest.raises(DataError, match=message):
        trainer(tmp_path / "broken", dataset=dataset, steps=6, workers=0).run()
    assert state_of(tmp_path / "broken")[1] == 3
    trainer(tmp_path / "broken", steps=6).run()
    trainer(tmp_path / "unbroken", steps=6).run()
    assert_same_run(tmp_path / "broken", tmp_path / "unbroken")


def test_failed_preview_costs_no_step(trainer, tmp_path):
    def fails(network, step):
        raise DataError("the held-out images are gone.")

    with pytest.raises(DataError, match="the held-out images are gone"):
        trainer(tmp_path, steps=6, preview_every=2, on_preview=fails).run()
    assert state_of(tmp_path)[1] == 2


def test_full_disk_before_the_end_is_a_warning(trainer, tmp_path, monkeypatch):
    run = trainer(tmp_path, steps=4, save_every=2, log_every=1)
    save, append, saves = run.state.save, run.metrics.append, []

    def full_once(path):
        saves.append(run.state.step)
        if len(saves) == 1:
            raise FULL
        save(path)

    def full_at_first(record):
        if record["step"] == 1:
            raise FULL
        append(record)

    monkeypatch.setattr(run.state, "save", full_once)
    monkeypatch.setattr(run.metrics, "append", full_at_first)
    with pytest.warns(WriteWarning, match="the disk is full") as caught:
        run.run()
    assert (len(caught), saves, state_of(tmp_path)[1]) == (2, [2, 4], 4)
    assert [record["step"] for record in records_of(tmp_path)] == [2, 3, 4]


def test_full_disk_at_the_end_is_an_error(trainer, tmp_path, monkeypatch):
    def full(path):
        raise FULL

    run = trainer(tmp_path, steps=1)
    monkeypatch.setattr(run.state, "save", full)
    with pytest.raises(RunError, match="the disk is full"):
        run.run()


def test_a_line_that_a_full_disk_cuts_short_is_removed(tmp_path, monkeypatch):
    log = MetricsLog(tmp_path / "metrics.jsonl")
    log.append({"step": 1})

    class Full:
        def __init__(self, file):
            self.file = file

        def __enter__(self):
            return self

        def __exit__(self, *_):
            self.file.close()

        def write(self, text):
            self.file.write(text[:5])
            raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        real = Path.open
        patch.setattr(Path, "open", lambda path, *how, **options: Full(real(path, *how, **options)))
        with pytest.raises(RunError, match="the disk is full"):
            log.append({"step": 2})
    log.append({"step": 3})
    assert log.records() == [{"step": 1}, {"step": 3}]


def test_an_unchanged_state_is_not_written_again(trainer, tmp_path):
    saved = []
    trainer(tmp_path, steps=2).run()
    before = (tmp_path / "state.safetensors").stat().st_mtime_ns
    trainer(tmp_path, steps=2, on_save=lambda network, step: saved.append(step)).run()
    assert (saved, (tmp_path / "state.safetensors").stat().st_mtime_ns) == ([2], before)
