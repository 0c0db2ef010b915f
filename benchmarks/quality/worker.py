"""The process that trains one model: `python -m benchmarks.quality.worker JOB`, with the fields of `Job` as JSON.

Every model is trained in a process of its own, so that its peak memory can be measured. The parent starts it in a
session of its own, so that Ctrl-C reaches it once, through the parent.
"""

import json
import os
import subprocess
import sys
from dataclasses import asdict

from benchmarks.quality.clock import RECORD, say, stop_with_parent
from benchmarks.quality.plan import Job
from nelbo.errors import ConfigurationError, NelboError
from nelbo.runs.folder import refuse_changes
from nelbo.training.signals import stop_signals

WITHOUT_GPU = {"CUDA_VISIBLE_DEVICES": "", "ACCELERATE_USE_CPU": "true"}
FAILED = 2


def trained(job: Job) -> bool:
    """Train a job in a process, unless it is trained already; return False if a signal stopped it.

    Raises:
        ConfigurationError: the training failed; its message is above.
        RunError: the folder holds another training.
    """
    if (job.place / RECORD).exists():
        done = json.loads((job.place / RECORD).read_text("utf-8"))["job"]
        refuse_changes(job.place, "a training", done, job.identity())
        return True
    environment = {**os.environ, **WITHOUT_GPU, "OMP_NUM_THREADS": str(job.threads)}
    command = [sys.executable, "-m", "benchmarks.quality.worker", json.dumps(asdict(job))]
    process, signals = subprocess.Popen(command, env=environment, start_new_session=True), list[str]()

    def stop(name: str) -> None:
        signals.append(name)
        process.terminate()

    with stop_signals(stop):
        code = process.wait()
    if signals and not (job.place / RECORD).exists():
        print(f"{job}: stopped by {signals[0]}; run the same command again to resume", flush=True)
        return False
    if code:
        raise ConfigurationError(f"the training of {job} failed; its message is above.")
    return (job.place / RECORD).exists()


def main() -> None:
    """Train the job of the command line in its folder."""
    import torch

    from benchmarks.quality.libraries import LIBRARIES
    from nelbo.studies import DataRequest, Listener
    from nelbo.studies.run_data import read_split

    stop_with_parent(os.getppid())
    job = Job(**json.loads(sys.argv[1]))
    torch.set_num_threads(job.threads)
    job.place.mkdir(parents=True, exist_ok=True)
    try:
        split = read_split(DataRequest(**job.data), workers=None, seed=0, listener=Listener())
        record = LIBRARIES[job.library].train(job, split)
    except NelboError as error:
        print(f"{job}: {error}", file=sys.stderr)
        sys.exit(FAILED)
    if record is not None:
        record.save(job.place)
        say(job, record.steps, record.seconds)


if __name__ == "__main__":
    main()
