"""N processes with a batch of B / N are one process with a batch of B."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from nelbo.config import find_run
from tests.training.conftest import exit_code, in_a_fork, records_of


def free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return listening.getsockname()[1]


def losses(folder):
    return [(record["loss"], record["gradient_norm"]) for record in records_of(folder)]


@pytest.mark.parametrize("micro_batch", [None, 2])
def test_two_processes_follow_the_curve_of_one(trainer, tmp_path, micro_batch):
    common = {"steps": 20, "log_every": 1, "network": {"dropout": 0.0}, "micro_batch": micro_batch}
    trainer(tmp_path / "one", **common).run()
    port = free_port()

    def work(rank):
        from accelerate.state import AcceleratorState

        place = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": 2, "LOCAL_WORLD_SIZE": 2}
        os.environ.update({key: str(value) for key, value in place.items()})
        os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
        AcceleratorState._reset_state(reset_partial_state=True)
        run = trainer(tmp_path / "two", **common)
        assert run.accelerator.num_processes == 2
        run.run()

    children = [in_a_fork(lambda rank=rank: work(rank)) for rank in range(2)]
    assert [exit_code(child) for child in children] == [0, 0]
    one, two = losses(tmp_path / "one"), losses(tmp_path / "two")
    assert len(one) == len(two) == 20
    for a, b in zip(one, two, strict=True):
        assert a == pytest.approx(b, rel=1e-4)
    assert one[0] == pytest.approx(two[0], rel=1e-6)


@pytest.mark.slow
def test_torchrun_trains_from_the_command_line(tmp_path):
    settings = ["network.base=8", "network.groups=4", "network.blocks=1", "network.fourier=[]", "network.dropout=0"]
    settings += ["schedule.num_steps=20", "training.log_every=1"]
    options = ["train", "--data", "digits", "--steps", "4", "--batch-size", "8", "--precision", "fp32"]
    options += [part for setting in settings for part in ("--set", setting)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    alone = [sys.executable, "-m", "nelbo", *options, "--out", str(tmp_path / "one")]
    subprocess.run(alone, check=True, env=environment)
    launch = ["-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", str(free_port())]
    program = ["-m", "nelbo", *options, "--out", str(tmp_path / "two")]
    subprocess.run([sys.executable, *launch, *program], check=True, env=environment)
    one, two = ([r["loss"] for r in records_of(tmp_path / n) if "loss" in r] for n in ("one", "two"))
    assert len(one) == 4
    assert two == pytest.approx(one, rel=2e-3)


@pytest.mark.parametrize("launch", [("torch.distributed.run", "--nproc-per-node"), ("accelerate.commands.launch", "")])
def test_two_processes_draw_the_images_of_one(launch, tmp_path):
    """More batches than processes, and a last one that is not full: the same pixels, in the same order.

    `-n`, because torchrun takes `--num` for the beginning of an option of its own.
    """
    if launch[0].startswith("accelerate"):
        options = ["-m", launch[0], "--cpu", "--num_processes", "2", "--num_machines", "1", "--mixed_precision", "no"]
        options += ["--dynamo_backend", "no", "--main_process_port", str(free_port())]
    else:
        options = ["-m", launch[0], launch[1], "2", "--master-port", str(free_port())]
    sample = ["-m", "nelbo", "sample", "fashion-mnist", "-n", "11", "--steps", "2", "--batch-size", "3"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    alone = [sys.executable, *sample, "--out", str(tmp_path / "one.npy")]
    subprocess.run(alone, check=True, env=environment)
    subprocess.run([sys.executable, *options, *sample, "--out", str(tmp_path / "two.npy")], check=True, env=environment)
    assert (tmp_path / "one.npy").read_bytes() == (tmp_path / "two.npy").read_bytes()


AFTER = """
import pathlib
from nelbo.cli import main

try:
    main()
except SystemExit as end:
    threads = [task.joinpath("comm").read_text() for task in pathlib.Path("/proc/self/task").iterdir()]
    print(end.code, any("gloo" in name for name in threads))
"""


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="needs a list of threads")
def test_a_command_that_ends_well_leaves_no_thread_between_processes(tmp_path):
    """One that still lets go of a tensor when the interpreter is gone aborts the process, which CI saw once."""
    (tmp_path / "after.py").write_text(AFTER)
    options = ["sample", "fashion-mnist", "-n", "2", "--steps", "1", "--batch-size", "1", "--out", "two.npy"]
    launch = ["-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", str(free_port()), "after.py"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    run = [sys.executable, *launch, *options]
    ended = subprocess.run(run, check=True, env=environment, cwd=tmp_path, capture_output=True, text=True)
    assert sorted(ended.stdout.split("\n")) == ["", "0 False", "0 False"]


@pytest.mark.parametrize("lacking", [0, 1])
def test_a_machine_that_lacks_the_run_says_so_and_holds_up_no_other(lacking, tmp_path):
    """Two machines, here on one; each error is told where it is made, and none waits for one that has ended."""
    launch = ["-m", "torch.distributed.run", "--nnodes", "2", "--nproc-per-node", "1", "--master-addr", "127.0.0.1"]
    launch += ["--master-port", str(free_port())]
    sample = ["-m", "nelbo", "sample", "model", "-n", "2", "--steps", "1", "--batch-size", "1", "--out", "two.npy"]
    environment, machines = {**os.environ, "OMP_NUM_THREADS": "1"}, []
    for rank in (0, 1):
        place = tmp_path / str(rank)
        place.mkdir()
        if rank != lacking:
            (place / "model").symlink_to(find_run("fashion-mnist"))
        run = [sys.executable, *launch, "--node-rank", str(rank), *sample]
        machines.append(subprocess.Popen(run, env=environment, cwd=place, stderr=subprocess.PIPE, text=True))
    told = [machine.communicate(timeout=100)[1] for machine in machines]
    assert [machine.returncode for machine in machines] == [1, 1]
    assert "there is no run folder or bundled model 'model'" in told[lacking]
    assert "error (process 1 of 2, from 0): " in told[1]
    assert "error" in told[0] and "another process is gone" in told[1 - lacking]
    assert not (tmp_path / "0" / "two.npy").exists()
