"""Commands that torchrun or accelerate starts in several processes: one result, and a clean end of each process."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from nelbo.runs import find_run
from tests.conftest import free_port


@pytest.mark.slow
@pytest.mark.parametrize("launch", [("torch.distributed.run", "--nproc-per-node"), ("accelerate.commands.launch", "")])
def test_two_processes_sample_as_one(launch, tmp_path):
    """Several batches per process, and a last batch that is smaller: the same pixels, in the same order.

    The flag is `-n`, because torchrun takes `--num` as an abbreviation of one of its options.
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
    found = f"{end.code} {any('gloo' in name for name in threads)}"
    pathlib.Path("found-" + os.environ["RANK"]).write_text(found)  # lines of two processes may mix
"""


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="needs a list of threads")
def test_successful_command_leaves_no_gloo_thread(tmp_path):
    """Such a thread may release a tensor after the interpreter has ended, which aborts the process; CI saw it once."""
    (tmp_path / "after.py").write_text(AFTER)
    options = ["sample", "fashion-mnist", "-n", "2", "--steps", "1", "--batch-size", "1", "--out", "two.npy"]
    launch = ["-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", str(free_port()), "after.py"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    run = [sys.executable, *launch, *options]
    subprocess.run(run, check=True, env=environment, cwd=tmp_path)
    assert [(tmp_path / f"found-{rank}").read_text() for rank in (0, 1)] == ["0 False", "0 False"]


@pytest.mark.slow
@pytest.mark.parametrize("lacking", [0, 1])
def test_machine_without_the_run_stops_all(lacking, tmp_path):
    """Two machines, simulated on one: each prints its own error, and none waits for one that has ended."""
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
    errors = [machine.communicate(timeout=100)[1] for machine in machines]
    assert [machine.returncode for machine in machines] == [1, 1]
    assert "no run folder or bundled model 'model'" in errors[lacking]
    assert "error (process 1 of 2, from 0): " in errors[1]
    assert "error" in errors[0] and "another process has ended" in errors[1 - lacking]
    assert not (tmp_path / "0" / "two.npy").exists()
