"""N processes with a batch of B / N each match one process with a batch of B."""

import os
import subprocess
import sys

import pytest

from tests.conftest import free_port
from tests.training.conftest import exit_code, in_a_fork, records_of


def losses(folder):
    return [(record["loss"], record["gradient_norm"]) for record in records_of(folder)]


@pytest.mark.parametrize("micro_batch", [None, 2])
def test_two_processes_match_one(trainer, tmp_path, micro_batch):
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
def test_torchrun_trains_by_the_command_line(tmp_path):
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
