"""Commands that torchrun or accelerate starts in several processes: one outcome, and an end for each."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from nelbo.runs import find_run
from tests.conftest import free_port


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
import os, pathlib
from nelbo.cli import main

try:
    main()
except SystemExit as end:
    threads = [task.joinpath("comm").read_text() for task in pathlib.Path("/proc/self/task").iterdir()]
    told = f"{end.code} {any('gloo' in name for name in threads)}"
    pathlib.Path("told-" + os.environ["RANK"]).write_text(told)  # lines of two processes may run into one another
"""


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="needs a list of threads")
def test_a_command_that_ends_well_leaves_no_thread_between_processes(tmp_path):
    """One that still lets go of a tensor when the interpreter is gone aborts the process, which CI saw once."""
    (tmp_path / "after.py").write_text(AFTER)
    options = ["sample", "fashion-mnist", "-n", "2", "--steps", "1", "--batch-size", "1", "--out", "two.npy"]
    launch = ["-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", str(free_port()), "after.py"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    run = [sys.executable, *launch, *options]
    subprocess.run(run, check=True, env=environment, cwd=tmp_path)
    assert [(tmp_path / f"told-{rank}").read_text() for rank in (0, 1)] == ["0 False", "0 False"]


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
    assert "there is not a run folder or bundled model 'model'" in told[lacking]
    assert "error (process 1 of 2, from 0): " in told[1]
    assert "error" in told[0] and "another process is gone" in told[1 - lacking]
    assert not (tmp_path / "0" / "two.npy").exists()
