"""The page: its tabs, its errors, what it refuses to answer, and trainings that it starts."""

import json
import time

import gradio as gr
import pytest
from PIL import Image
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from nelbo.data import DataWarning
from nelbo.errors import ConfigurationError, DataError, option
from nelbo.studio.app import build
from nelbo.studio.guard import GUARDS
from nelbo.studio.speaking import speaking, warn_on_page
from nelbo.studio.training import Job, Trainings, followed


def tabs_of(page):
    return [part["props"]["label"] for part in page.get_config_file()["components"] if part["type"] == "tabitem"]


def test_page_has_a_tab_for_each_part(collection):
    page = build(collection, Trainings())
    assert tabs_of(page) == ["Noise", "Sample", "Bits", "Send", "Restore", "Train", "KL", "VAE"]


def test_page_without_trainings_starts_none(collection):
    text = json.dumps(build(collection).get_config_file(), default=str)
    assert "Start a new run" not in text and "images (empty: digits)" not in text


def test_error_is_the_sentence_of_the_library():
    @speaking
    def fail(steps):
        raise ConfigurationError(f"{option('steps')} must be at least 1, got {steps}; raise {option('num_images', 4)}.")

    @speaking
    def stream():
        yield 1
        raise DataError("the file is no image.")

    with pytest.raises(gr.Error) as caught:
        fail(0)
    assert caught.value.message == "steps must be at least 1, got 0; raise num images 4."
    found = stream()
    assert next(found) == 1
    with pytest.raises(gr.Error, match="the file is no image"):
        next(found)


def test_warning_is_shown_on_the_page(monkeypatch):
    shown = []
    monkeypatch.setattr(gr, "Warning", lambda text, title: shown.append(text))
    warn_on_page(DataWarning(f"set {option('size')} to 8"), DataWarning, "file", 1)
    warn_on_page(UserWarning("of another library"), UserWarning, "file", 1)
    assert shown == ["set size to 8"]


@pytest.fixture
def guarded():
    app = Starlette(routes=[Route("/", lambda request: PlainTextResponse("here"))], middleware=GUARDS)
    return TestClient(app, base_url="http://127.0.0.1:7860")


@pytest.mark.parametrize("origin", [None, "http://127.0.0.1:7860", "http://localhost:7860"])
def test_own_page_is_answered(guarded, origin):
    assert guarded.get("/", headers={} if origin is None else {"Origin": origin}).text == "here"


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://example.org"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1.example.org"},
        {"Origin": "http://[bad"},
        {"Host": "example.org"},
        {"Host": "127.0.0.1.example.org:7860"},
    ],
)
def test_foreign_page_and_foreign_host_are_refused(guarded, headers):
    assert guarded.get("/", headers=headers).status_code in (400, 403)


class TestTrainings:
    @pytest.fixture
    def trainings(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        found = Trainings()
        yield found
        found.stop_all()

    @pytest.mark.slow
    def test_started_training_saves_when_stopped_and_resumes(self, trainings):
        name = trainings.begin(0.5)
        job = trainings.job(name)
        assert name == "studio-1" and job.running
        with pytest.raises(ConfigurationError, match="a training is running"):
            trainings.begin(0.5)
        until = time.monotonic() + 90
        while not (job.folder / "metrics.jsonl").is_file() and time.monotonic() < until:
            time.sleep(0.2)
        job.stop()
        assert not job.running and "resumes" in job.words()
        assert (job.folder / "state.safetensors").is_file()
        steps = len((job.folder / "metrics.jsonl").read_text().splitlines())
        assert steps and "step" in followed(job.folder)
        job.start()
        assert job.running
        job.start()  # a second click changes nothing
        trainings.stop_all()
        assert not job.running

    def test_uploaded_images_are_copied_under_other_names(self, trainings, tmp_path, monkeypatch):
        monkeypatch.setattr(Job, "start", lambda self: None)
        paths = []
        for i in range(3):
            Image.new("RGB", (9, 9), (i, 0, 0)).save(tmp_path / f"a b{i}.PNG")
            paths.append(str(tmp_path / f"a b{i}.PNG"))
        name = trainings.begin(2, paths, 16)
        folder = tmp_path / "runs" / f"{name}-images"
        assert sorted(path.name for path in folder.iterdir()) == ["00000.png", "00001.png", "00002.png"]
        command = " ".join(trainings.job(name).command)
        assert command == f"train --data runs/{name}-images --out runs/{name} --minutes 2 --size 16"

    @pytest.mark.parametrize("minutes", [0.0, 1000.0, float("nan")])
    def test_time_that_the_page_does_not_offer_is_refused(self, trainings, minutes):
        with pytest.raises(ConfigurationError, match=r"0.5 to 240 minutes"):
            trainings.begin(minutes)

    def test_other_files_are_refused(self, trainings, tmp_path):
        (tmp_path / "notes.txt").write_text("no image")
        with pytest.raises(DataError, match=r"notes.txt is no image"):
            trainings.begin(1, [str(tmp_path / "notes.txt")])
        (tmp_path / "broken.png").write_text("no image")
        with pytest.raises(DataError, match="no image that can be read"):
            trainings.begin(1, [str(tmp_path / "broken.png")])
        assert not (tmp_path / "runs").exists()

    def test_unknown_training_is_refused(self, trainings):
        with pytest.raises(ConfigurationError, match="has not started this training"):
            trainings.job("../other")

    def test_ended_process_is_not_running(self, tmp_path):
        job = Job(tmp_path / "run", ["--version"])
        job.start()
        job.process.wait(60)
        assert not job.running and job.words()
        job.stop()  # of a process that has ended


def test_run_without_metrics_says_so(tmp_path):
    assert "No metrics yet" in followed(tmp_path)
