"""An interrupted run resumes bit for bit, after a stop, a signal or a kill."""

import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from nelbo.data import load_data
from nelbo.errors import RunError
from nelbo.files import write_tensors
from nelbo.networks import DiTOptions
from nelbo.training import METRICS_FILE, STATE_FILE, MetricsLog
from tests.conftest import TINY_NETWORK, write_pictures
from tests.training.conftest import assert_same_run, exit_code, in_a_fork, records_of, state_of


def look(network, step):
    """A preview that changes the global random state and the mode of the averaged network."""
    network.eval()
    torch.rand(step + 1)
    return {"seen": step}


def test_resume_of_a_transformer_is_bitwise(trainer, tiny_recipe, tmp_path):
    dit = DiTOptions(channels=1, width=16, depth=2, heads=2, time_features=8, dropout=0.2)
    common = {"recipe": replace(tiny_recipe, network=dit), "steps": 5, "log_every": 2, "optimizer": "muon"}
    trainer(tmp_path / "unbroken", **common).run()
    trainer(tmp_path / "broken", **common, stop_at=2).run()
    trainer(tmp_path / "broken", **common).run()
    assert_same_run(tmp_path / "unbroken", tmp_path / "broken")


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("cut", [1, 5])
def test_resume_is_bitwise(trainer, tmp_path, workers, cut):
    common = {"steps": 9, "log_every": 4, "preview_every": 3, "on_preview": look, "workers": workers}
    trainer(tmp_path / "unbroken", **common | {"workers": 0}).run()
    broken = trainer(tmp_path / "broken", **common, stop_at=cut)
    broken.run()
    assert (broken.state.step, broken.stopped_by) == (cut, "the test")
    trainer(tmp_path / "broken", **common).run()
    assert_same_run(tmp_path / "unbroken", tmp_path / "broken")
    assert [r["step"] for r in records_of(tmp_path / "broken")] == [3, 4, 6, 8, 9]


def test_raised_budget_equals_one_long_run(trainer, tmp_path):
    trainer(tmp_path / "whole", steps=6).run()
    trainer(tmp_path / "halves", steps=3).run()
    trainer(tmp_path / "halves", steps=6).run()
    assert_same_run(tmp_path / "whole", tmp_path / "halves")


def test_saved_state_is_not_trivial(trainer, tmp_path):
    """Every part of the state differs from a new trainer's, so the comparisons above can fail."""
    trainer(tmp_path, steps=5, log_every=3).run()
    tensors, _ = state_of(tmp_path)
    assert tensors["objective/seen"].count_nonzero() > 3
    assert tensors["window/weighted"][1] == 2 * 8  # steps 4 and 5, of 8 images each
    assert tensors["average/n_averaged"] == 5
    assert not torch.equal(tensors["average/module.input.weight"], tensors["network/input.weight"])
    assert tensors["optimizer.input.weight/step"] == 5
    assert tensors["optimizer.input.weight/exp_avg"].count_nonzero() > 0


def test_finished_run_is_unchanged(trainer, tmp_path):
    options = {"steps": 3, "log_every": 1, "on_preview": look}
    trainer(tmp_path, **options).run()
    before, records = state_of(tmp_path), records_of(tmp_path)
    trainer(tmp_path, **options).run()
    assert records_of(tmp_path) == records
    assert all(torch.equal(before[0][name], tensor) for name, tensor in state_of(tmp_path)[0].items())


def test_draws_depend_on_the_seed_alone(trainer, tmp_path):
    """Two runs of one seed are equal, two of different seeds differ; the global random state has no effect."""
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        torch.rand(seed)  # changes the global random state
        trainer(tmp_path / name, steps=2, seed=seed).run()
    assert_same_run(tmp_path / "a", tmp_path / "b")
    assert not torch.equal(
        state_of(tmp_path / "a")[0]["network/input.weight"], state_of(tmp_path / "c")[0]["network/input.weight"]
    )


def test_metrics_after_the_saved_state_are_dropped(trainer, tmp_path):
    options = {"steps": 6, "log_every": 1}
    trainer(tmp_path / "unbroken", **options).run()
    trainer(tmp_path / "broken", **options, stop_at=3).run()
    with (tmp_path / "broken" / METRICS_FILE).open("a") as file:
        file.write('{"step": 4, "loss": 0.5}\n{"step": 5, "lo')
    trainer(tmp_path / "broken", **options).run()
    assert_same_run(tmp_path / "unbroken", tmp_path / "broken")


def test_metrics_without_a_saved_state_are_dropped(trainer, tmp_path):
    """As after a kill before the first saved state."""
    trainer(tmp_path / "unbroken", steps=2, log_every=1).run()
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / METRICS_FILE).write_text('{"step": 1, "loss": 0.5}\n')
    trainer(tmp_path / "broken", steps=2, log_every=1).run()
    assert_same_run(tmp_path / "unbroken", tmp_path / "broken")


def test_optimizer_memory_layout_is_restored(trainer, tmp_path):
    trainer(tmp_path, steps=2).run()
    state = trainer(tmp_path, steps=3).state
    wide = [p for p in state.network.parameters() if p.ndim == 4 and p.shape[1] > 1 and p.shape[2] > 1]
    assert wide
    for parameter in wide:
        for slot in ("exp_avg", "exp_avg_sq"):
            assert state.optimizer.state[parameter][slot].stride() == parameter.stride()
        assert parameter.is_contiguous(memory_format=torch.channels_last)


def test_state_of_another_network_is_refused(trainer, tmp_path):
    trainer(tmp_path, steps=1).run()
    with pytest.raises(RunError, match="does not hold the training state of this network"):
        trainer(tmp_path, steps=2, network={"base": 16})


def test_state_without_a_step_is_refused(trainer, tmp_path):
    trainer(tmp_path, steps=1).run()
    write_tensors(tmp_path / STATE_FILE, state_of(tmp_path)[0], {})
    with pytest.raises(RunError, match="does not hold the training state"):
        trainer(tmp_path, steps=2)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_saves_and_stops(trainer, tmp_path, number):
    folder, endless = tmp_path / "broken", {"steps": 10**6, "log_every": 1, "workers": 2}
    child = in_a_fork(lambda: trainer(folder, **endless).run())
    wait_for_steps(folder, 2)
    os.kill(child, number)
    assert exit_code(child) == 0
    _, step = state_of(folder)
    assert [record["step"] for record in records_of(folder)] == list(range(1, step + 1))
    assert list(folder.glob(".*")) == []
    trainer(folder, steps=step + 2, log_every=1).run()
    trainer(tmp_path / "unbroken", steps=step + 2, log_every=1).run()
    assert_same_run(tmp_path / "unbroken", folder)


def test_signal_in_the_last_preview_still_saves(trainer, tmp_path):
    def interrupted(network, step):
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.05)
        return {"seen": step}

    run = trainer(tmp_path, steps=2, preview_every=100, on_preview=interrupted)
    run.run()
    assert run.stopped_by == "SIGTERM"
    assert state_of(tmp_path)[1] == 2


def test_signal_interrupts_a_long_preview(trainer, tmp_path):
    def slow(network, step):
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(60)
        return {}

    began = time.monotonic()
    run = trainer(tmp_path, steps=9, preview_every=2, on_preview=slow)
    run.run()
    assert time.monotonic() - began < 30
    assert (run.stopped_by, run.state.step) == ("SIGTERM", 2)
    trainer(tmp_path / "unbroken", steps=9).run()
    trainer(tmp_path, steps=9).run()
    assert_same_run(tmp_path, tmp_path / "unbroken")


def test_same_network_is_previewed_once(trainer, tmp_path):
    looks = []

    def slow(network, step):
        looks.append(step)
        time.sleep(0.2)
        return {}

    state = trainer(tmp_path, steps=None, minutes=0.1 / 60, on_preview=slow).run()
    assert looks.count(state.step) == 1


def test_second_signal_stops_at_once(trainer, tmp_path):
    def impatient(network, step):  # during a save: in a preview the first signal would end the callback
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.05)
        return {}

    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        trainer(tmp_path, steps=9, save_every=1, on_save=impatient).run()
    assert signal.getsignal(signal.SIGINT) is before


def wait_for_steps(folder: Path, num: int, seconds: float = 120.0) -> None:
    ends = time.monotonic() + seconds
    while len(MetricsLog(folder / METRICS_FILE).records()) < num:
        assert time.monotonic() < ends, "training made no step"
        time.sleep(0.01)


@pytest.mark.parametrize("source", ["memory", "files"])
def test_killed_run_resumes_bitwise(trainer, tiny_data, tmp_path, source):
    """Three SIGKILLs at random times, then a run to the end; images are in memory or decoded when read."""
    dataset = tiny_data
    if source == "files":
        dataset = load_data(str(write_pictures(tmp_path / "pictures", 12)), memory_budget=0).train
        assert type(dataset).__name__ == "FolderDataset"
    network = {"channels": dataset.shape[0]}
    common = {"steps": 12, "log_every": 3, "save_every": 2, "preview_every": 5, "on_preview": look, "workers": 2}
    common |= {"dataset": dataset, "network": network}
    began = time.monotonic()
    trainer(tmp_path / "unbroken", **common).run()
    lasted = time.monotonic() - began
    chance = random.Random(0)
    for _ in range(3):
        child = in_a_fork(lambda: trainer(tmp_path / "broken", **common).run())
        time.sleep(chance.random() * lasted)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    trainer(tmp_path / "broken", **common).run()
    assert_same_run(tmp_path / "unbroken", tmp_path / "broken")


PROGRAM = """
import functools, sys
import nelbo.studies.run_data as run_data
run_data.load_data = functools.partial(run_data.load_data, memory_budget=0)  # so that workers decode the files
from nelbo.cli import main
sys.argv = ["nelbo", *sys.argv[1:]]
main()
"""


@pytest.mark.slow
def test_killed_command_resumes_bitwise(tmp_path):
    """`nelbo train` on a folder of PNGs with data workers gets SIGKILL at twenty random times after its start."""
    pictures = write_pictures(tmp_path / "pictures", 24)
    settings = {
        "schedule.num_steps": 10,
        "network.base": TINY_NETWORK.base,
        "network.groups": TINY_NETWORK.groups,
        "network.multipliers": "[1,2]",
        "network.blocks": 1,
        "network.attention": "[]",
        "network.fourier": "[]",
        "network.dropout": 0.1,
        "timesteps": "importance",  # the objective then has a state of its own
        "training.log_every": 3,
    }

    def start(name):
        command = [sys.executable, "-c", PROGRAM, "train", "--data", str(pictures), "--out", str(tmp_path / name)]
        command += ["--steps", "40", "--batch-size", "8", "--workers", "2", "--save-every", "3", "--precision", "fp32"]
        command += ["--preview-every", "10", "--flip", "--seed", "5"]
        command += [part for key, value in settings.items() for part in ("--set", f"{key}={value}")]
        process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
        for line in process.stderr:  # training is about to begin
            if "prediction" in line:
                return process
        raise AssertionError(f"training did not begin: exit code {process.wait()}")

    def finish(process):
        process.stderr.read()
        return process.wait()

    process = start("unbroken")
    began = time.monotonic()
    assert finish(process) == 0
    lasted, chance, kills, trial = time.monotonic() - began, random.Random(1), 0, 0
    while kills < 20:
        broken = tmp_path / f"broken-{trial}"
        for _ in range(chance.randint(1, 4)):
            process = start(broken.name)
            time.sleep(chance.random() * lasted * 0.8)
            process.kill()
            finish(process)
            kills += 1
        assert finish(start(broken.name)) == 0
        assert_same_run(tmp_path / "unbroken", broken)
        assert not [path for path in broken.rglob("*") if path.name.endswith(".part")]
        trial += 1
