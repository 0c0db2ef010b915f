"""Score many images of 8x8 by parts, in one process and by Ray, and measure the memory by the number of images.

    python -m benchmarks.many_images [--num 10000 30000 100000] [--workers 2] [--kill-after 10] [--folder runs/many]

With the largest number, a worker of Ray is killed (SIGKILL) when `--kill-after` parts are there.

Each work runs in a process of its own. Its memory is the largest resident set of the process that has the images, and
that of its largest worker, in MiB, from /proc twice a second. The scores of all works are compared as bytes of their
Parquet files. The model is trained for a few steps: what it has learned does not matter here.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

import nelbo
from nelbo.engines import EngineOptions, score

INTERVAL = 0.5  # seconds between two looks at the memory
DRAWS = 2  # values of t per image
BATCH, PART = 512, 2048  # images
OVERRIDES = {
    "schedule.num_steps": 50,
    "decoder.kind": "gaussian",
    "parameterization": "noise",
    "loss": "simple",
    "network.base": 8,
    "network.groups": 4,
    "network.multipliers": [1, 2],
    "network.blocks": 1,
    "network.attention": [],
    "network.middle_attention": False,
    "network.fourier": [],
    "training.steps": 50,
    "training.compile": False,
}


def images_of(num: int, path: Path) -> None:
    """Write `num` images of 8x8 to a `.npy` file: the bundled digits with 256 levels, a noisy copy of each in turn."""
    split = nelbo.load_data("digits")
    digits = split.train.images(range(len(split.train))).numpy()[:, 0] * 15
    generator = np.random.default_rng(0)
    copies = digits[np.arange(num) % len(digits)].astype(np.int16) + generator.integers(-8, 9, (num, 8, 8))
    np.save(path, copies.clip(0, 255).astype(np.uint8))


def resident(process: int) -> float:
    """Return the resident set of a process in MiB; 0 if it has ended."""
    try:
        status = Path(f"/proc/{process}/status").read_text()
    except OSError:
        return 0
    return sum(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS")) / 1024


def workers_of(driver: int) -> list[int]:
    """Return the processes of Ray's actors that descend from a process."""
    parents, names = dict[int, int](), dict[int, str]()
    for place in Path("/proc").glob("[0-9]*"):
        try:
            parents[int(place.name)] = int((place / "stat").read_text().rpartition(")")[2].split()[1])
            names[int(place.name)] = (place / "cmdline").read_bytes().decode(errors="replace")
        except (OSError, ValueError):
            continue

    def descends(process: int) -> bool:
        while process > 1:
            process = parents.get(process, 0)
            if process == driver:
                return True
        return False

    return [process for process, name in names.items() if name.startswith("ray::_Worker") and descends(process)]


def measured(folder: Path, num: int, workers: int, out: Path, kill_after: int | None = None) -> dict[str, float]:
    """Score in a process of its own, and kill a worker when `kill_after` parts are there."""
    began = time.monotonic()
    command = [sys.executable, "-m", "benchmarks.many_images", "--only", str(folder), str(num), str(workers), str(out)]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    most, most_worker, killed = 0.0, 0.0, 0
    while child.poll() is None:
        actors = workers_of(child.pid) if workers else []
        most = max(most, resident(child.pid))
        most_worker = max([most_worker, *map(resident, actors)])
        if kill_after is not None and not killed and actors and len(list(out.glob("*.parquet"))) >= kill_after:
            os.kill(actors[0], signal.SIGKILL)
            killed = actors[0]
        time.sleep(INTERVAL)
    if child.returncode:
        raise SystemExit(f"{' '.join(command)} failed")
    printed = child.stdout.read() if child.stdout else ""  # Ray names a worker that died before the last line
    seconds = json.loads(printed.splitlines()[-1])["seconds"]
    found = {"num": num, "workers": workers, "killed": killed, "scoring_seconds": seconds}
    return found | {"seconds": time.monotonic() - began, "driver_mib": most, "worker_mib": most_worker}


def only(folder: str, num: str, workers: str, out: str) -> None:
    """Score, in the child."""
    engine = EngineOptions("ray", workers=int(workers)) if int(workers) else EngineOptions()
    began = time.monotonic()
    sizes = {"batch_size": BATCH, "part_size": PART}
    images, how = Path(folder) / f"{num}.npy", {"engine": engine, "steps_per_image": DRAWS, "device": "cpu"}
    report = score(Path(folder) / "run", images, out, **how, **sizes)
    print(json.dumps({"seconds": time.monotonic() - began, "computed": report.computed}))


def contents(out: Path) -> dict[str, bytes]:
    """Return the files of a folder of scores; both the parts and the manifest have to agree."""
    return {path.name: path.read_bytes() for path in sorted(out.iterdir()) if path.name[0] != "."}


def main() -> None:
    if sys.argv[1:2] == ["--only"]:
        only(*sys.argv[2:])
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--num", type=int, nargs="+", default=[10_000, 30_000, 100_000])
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--kill-after", type=int, default=10, help="number of parts, in the largest work")
    parser.add_argument("--folder", type=Path, default=Path("runs/many"))
    given = parser.parse_args()
    given.folder.mkdir(parents=True)
    for num in given.num:
        images_of(num, given.folder / f"{num}.npy")
    small = str(given.folder / f"{min(given.num)}.npy")
    nelbo.train(small, given.folder / "run", preset="images", overrides=OVERRIDES, pictures=False)
    records = []
    for num in given.num:
        one, two = given.folder / f"{num}-process", given.folder / f"{num}-ray"
        kill_after = given.kill_after if num == max(given.num) else None
        for workers, out in ((0, one), (given.workers, two)):
            records.append(measured(given.folder, num, workers, out, kill_after if workers else None))
            print(json.dumps(records[-1]), flush=True)
        assert contents(one) == contents(two)
        assert kill_after is None or records[-1]["killed"]
    (given.folder / "many-images.json").write_text(json.dumps(records, indent=2) + "\n")
    print(f"the files of all works with the same images are equal; figures: {given.folder / 'many-images.json'}")


if __name__ == "__main__":
    main()
