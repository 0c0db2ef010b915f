"""Scores by parts are those of one pass, and a work that was stopped is continued: nothing lost, nothing twice."""

import json
import math
import pickle
import shutil
import tarfile
from dataclasses import fields
from pathlib import Path

import numpy as np
import pandas
import pyarrow.parquet
import pytest
import torch

from nelbo import engines
from nelbo.data import load_for_model
from nelbo.engines import EngineOptions, Part, ProcessEngine, ScoreJob
from nelbo.errors import ConfigurationError, DataError, RunError
from nelbo.evaluation import BoundReport
from nelbo.files import alone_in
from nelbo.runs import BoundOptions, DiffusionRun

QUICK = {"steps_per_image": 2, "batch_size": 8, "part_size": 16, "device": "cpu"}


def rows(folder: Path) -> list[dict[str, object]]:
    """Every row of the files of a folder, read without nelbo."""
    return [row for file in sorted(folder.glob("*.parquet")) for row in pyarrow.parquet.read_table(file).to_pylist()]


def close(ours: float, theirs: float) -> bool:
    """Whether two sums of the same numbers in another order agree."""
    return (math.isnan(ours) and math.isnan(theirs)) or ours == pytest.approx(theirs, rel=1e-12)


def test_scores_by_parts_equal_those_of_one_pass(place: Path, run: DiffusionRun, tmp_path: Path):
    report = engines.score(place / "run", str(place / "images.npy"), tmp_path / "out", **QUICK)
    whole = run.bound(np.load(place / "images.npy"), steps_per_image=2, batch_size=8)
    assert torch.equal(report.scores, whole.scores)
    found = rows(tmp_path / "out")
    assert [row["index"] for row in found] == list(range(101))
    assert [row["image"] for row in found] == [f"images[{i}]" for i in range(101)]
    assert torch.equal(torch.tensor([row["bits_per_dim"] for row in found], dtype=torch.float64), whole.scores)
    parts = [row["prior"] + row["denoising"] + row["decoder"] for row in found]
    assert parts == pytest.approx(whole.scores.tolist())
    assert (report.num_images, report.computed, report.folder.num_parts) == (101, 7, 7)
    assert close(report.total, whole.total) and close(report.standard_error, whole.standard_error)
    ranked = whole.scores.sort(descending=True)
    assert [each.index for each in report.highest] == ranked.indices[:10].tolist()
    assert report.lowest.index == ranked.indices[-1]
    assert [*report.to_pandas().bits_per_dim] == whole.scores.tolist()


def test_the_size_of_a_part_does_not_change_a_score(run: DiffusionRun, place: Path, tmp_path: Path):
    images = np.load(place / "images.npy")
    one, many = (
        engines.score(run, images, tmp_path / str(size), **{**QUICK, "part_size": size}).scores for size in (8, 104)
    )
    assert torch.equal(one, many)


@pytest.mark.parametrize("steps_per_image", [1, 3, None])
def test_the_bound_by_parts_is_that_of_one_pass(
    place: Path, run: DiffusionRun, tmp_path: Path, steps_per_image: int | None
):
    """Every number of the report: the terms, the errors, and the averages at each t."""
    given = {"steps_per_image": steps_per_image, "batch_size": 8, "variance": "fixed-small", "seed": 5, "clip": True}
    ours = engines.evaluate(run, place / "images.npy", tmp_path / "out", part_size=24, **given)
    theirs = run.bound(np.load(place / "images.npy"), **given)
    assert isinstance(ours, BoundReport) and torch.equal(ours.scores, theirs.scores)
    assert len(ours.per_step) == len(theirs.per_step) > 0
    for one, other in [(ours, theirs), *zip(ours.per_step, theirs.per_step, strict=True)]:
        for name, value in vars(other).items():
            if isinstance(value, float):
                assert close(getattr(one, name), value), name
            elif not isinstance(value, list | torch.Tensor):
                assert getattr(one, name) == value, name


def test_files_of_images_stay_in_their_files(run: DiffusionRun, place: Path, tmp_path: Path):
    pictures = str(place / "pictures")
    report = engines.score(run, pictures, tmp_path / "out", **QUICK)
    prepared = load_for_model(pictures, run.shape)
    assert torch.equal(report.scores, run.bound(prepared.images, steps_per_image=2, batch_size=8).scores)
    assert [row["image"] for row in rows(tmp_path / "out")] == list(prepared.names)


class Stopped(Exception):
    pass


def stop_after(parts: int):
    """A progress function that ends the work after some parts, as Ctrl-C would."""
    left = [parts + 1]  # it is called once at the beginning

    def progress(done: int, total: int) -> None:
        left[0] -= 1
        if left[0] == 0:
            raise Stopped

    return progress


def test_stopped_work_is_continued(run: DiffusionRun, place: Path, tmp_path: Path):
    images, out = str(place / "images.npy"), tmp_path / "out"
    with pytest.raises(Stopped):
        engines.score(run, images, out, **QUICK, progress=stop_after(3))
    first = {file.name: file.read_bytes() for file in out.glob("*.parquet")}
    assert len(first) == 3
    (out / ".part-00003.parquet.77.part").write_text("what a killed writer left")
    report = engines.score(run, images, out, **QUICK)
    assert report.computed == 4 and not list(out.glob(".*.part"))
    assert first.items() <= {file.name: file.read_bytes() for file in out.glob("*.parquet")}.items()
    whole = engines.score(run, images, tmp_path / "whole", **QUICK)
    assert rows(out) == rows(tmp_path / "whole") and report.sums.terms.tolist() == whole.sums.terms.tolist()
    assert engines.score(run, images, out, **QUICK).computed == 0


def test_a_lost_part_is_computed_again(run: DiffusionRun, place: Path, tmp_path: Path):
    images, out = str(place / "images.npy"), tmp_path / "out"
    scores = engines.score(run, images, out, **QUICK).scores
    (out / "part-00002.parquet").unlink()
    again = engines.score(run, images, out, **QUICK)
    assert again.computed == 1 and torch.equal(again.scores, scores)


def test_a_damaged_part_is_named(run: DiffusionRun, place: Path, tmp_path: Path):
    images, out = str(place / "images.npy"), tmp_path / "out"
    engines.score(run, images, out, **QUICK)
    file = out / "part-00002.parquet"
    file.write_bytes(file.read_bytes()[:-20])
    with pytest.raises(RunError, match=r"part-00002.parquet is missing or damaged .*; delete it and repeat"):
        engines.score(run, images, out, **QUICK)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"seed": 1}, "seed: 0 there, 1 here"),
        ({"steps_per_image": 3}, "steps_per_image: 2 there, 3 here"),
        ({"batch_size": 16}, "batch_size"),
        ({"part_size": 32}, "part_size"),
        ({"images": "pictures"}, "images: .*num_images: 101 there, 11 here"),
        ({"weights": True}, "model"),
    ],
)
def test_other_work_in_the_same_folder_is_refused(
    run: DiffusionRun, place: Path, tmp_path: Path, change: dict[str, object], named: str
):
    engines.score(run, place / "images.npy", tmp_path, **QUICK)
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    images = place / str(change.pop("images", "images.npy"))
    if change.pop("weights", False):
        next(iter(run.network.parameters())).data += 1e-3
    with pytest.raises(ConfigurationError, match=f"holds results of other work .*{named}.*choose another out"):
        engines.score(run, images, tmp_path, **{**QUICK, **change})
    assert before == {file.name: file.read_bytes() for file in tmp_path.iterdir()}


def test_changed_images_are_refused(run: DiffusionRun, place: Path, tmp_path: Path):
    images = np.load(place / "images.npy")
    engines.score(run, images, tmp_path, **QUICK)
    images[50, 3, 3] ^= 1
    with pytest.raises(ConfigurationError, match=r"other work .*images"):
        engines.score(run, images, tmp_path, **QUICK)


def test_a_folder_of_other_files_is_refused(run: DiffusionRun, place: Path, tmp_path: Path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(ConfigurationError, match=r"has files but no manifest\.json; choose another out"):
        engines.score(run, place / "images.npy", tmp_path, **QUICK)


def test_two_writers_of_one_folder_are_refused(
    run: DiffusionRun, place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("nelbo.files.LOCK_SECONDS", 0.1)
    with alone_in(tmp_path), pytest.raises(RunError, match="another process is writing to"):
        engines.score(run, place / "images.npy", tmp_path, **QUICK)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"part_size": 20}, "part_size is 20, no multiple of the batch_size 8; give 24"),
        ({"part_size": 0}, "part_size must be a whole number, at least 1"),
        ({"batch_size": 0}, "batch_size must be a whole number, at least 1"),
        ({"seed": 1.5}, "seed must be a whole number"),
        ({"steps_per_image": 0}, "steps_per_image must be a whole number, at least 1"),
        ({"engine": "rai"}, "unknown engine 'rai'; did you mean 'ray'"),
    ],
)
def test_invalid_options_are_refused(
    run: DiffusionRun, place: Path, tmp_path: Path, options: dict[str, object], message: str
):
    with pytest.raises(ConfigurationError, match=message):
        engines.score(run, place / "images.npy", tmp_path / "out", **{**QUICK, **options})


def test_options_of_ray_need_ray():
    with pytest.raises(ConfigurationError, match="only the engine ray has workers, gpus; give engine='ray' too"):
        EngineOptions(workers=2, gpus=1)
    with pytest.raises(ConfigurationError, match="workers must be a whole number, at least 1, got 0"):
        EngineOptions("ray", workers=0)
    with pytest.raises(ConfigurationError, match="gpus is -1; expected 0 or more"):
        EngineOptions("ray", gpus=-1)


@pytest.mark.parametrize(
    ("package", "engine", "extra"), [("ray", "ray", "nelbo[ray]"), ("pyarrow.parquet", "process", "nelbo[parquet]")]
)
def test_a_missing_package_is_named_with_its_extra(
    run: DiffusionRun,
    place: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    package: str,
    engine: str,
    extra: str,
):
    monkeypatch.setitem(__import__("sys").modules, package, None)
    with pytest.raises(ConfigurationError) as refused:
        engines.score(run, place / "images.npy", tmp_path, engine=engine, **QUICK)
    assert f"pip install '{extra}'" in str(refused.value)


def test_images_that_cannot_be_scored_are_refused_before_the_folder_is_made(run: DiffusionRun, tmp_path: Path):
    with pytest.raises(DataError):
        engines.score(run, np.zeros((0, 8, 8), np.uint8), tmp_path / "out", **QUICK)
    assert not (tmp_path / "out").exists()


def test_a_worker_with_another_model_is_refused(run: DiffusionRun, place: Path, tmp_path: Path):
    report = engines.score(run, place / "images.npy", tmp_path, **QUICK)
    work = json.loads((tmp_path / "manifest.json").read_text())
    options = BoundOptions(**{each.name: work[each.name] for each in fields(BoundOptions)})
    job = ScoreJob(str(place / "run"), "0" * 64, "cpu", options, report.folder)
    with pytest.raises(RunError, match="is another model for a worker than for this process"):
        next(ProcessEngine().map(job, [None]))


def test_the_report_reads_no_more_than_it_shows(run: DiffusionRun, place: Path, tmp_path: Path):
    report = engines.score(run, place / "images.npy", tmp_path, **QUICK)
    text = repr(report)
    assert text.startswith("ScoresReport") and "101 images" in text and "7 Parquet files" in text
    assert json.loads(json.dumps(report.to_json()))["highest"][0]["index"] == report.highest[0].index
    assert isinstance(report.to_pandas(), pandas.DataFrame)


def test_pieces_are_read_from_another_working_folder(
    run: DiffusionRun, place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Those of image files, of a tar shard and of an array, named relative to the first folder."""
    with tarfile.open(tmp_path / "shard.tar", "w") as shard:
        for file in sorted((place / "pictures").iterdir()):
            shard.add(file, file.name)
    shutil.copytree(place / "pictures", tmp_path / "pictures")
    shutil.copy(place / "images.npy", tmp_path)
    monkeypatch.chdir(tmp_path)
    for spec in ("pictures", "shard.tar", "images.npy"):
        parts = engines.parts_of(run, spec)
        expected = parts.images.images([8, 9])
        piece = pickle.loads(pickle.dumps(parts.piece(Part(1, 8, 10))))
        monkeypatch.chdir("/")
        assert torch.equal(piece.images.images([0, 1]), expected) and piece.names == list(parts.names[8:10])
        assert len(pickle.dumps(piece)) < 3000
        monkeypatch.chdir(tmp_path)
