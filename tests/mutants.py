"""Mutation testing of the core: change one operator, number or condition at a time and see whether a test fails.

    python -m tests.mutants [--num 300] [--minutes 60] [--workers 2] [--out runs/mutants]

The quick tests that can see a mutant judge it, on a copy of the tree, in a fork of a process that has imported PyTorch
but not nelbo. A stopped run resumes: results.jsonl keeps a verdict until the file, or a survivor's tests, change.
"""

import argparse
import contextlib
import importlib
import json
import os
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from pathlib import Path

import hypothesis
import pytest

from tests.mutations import PACKAGES, ROOT, Mutant, digest, sample

MEMORY = 6 << 30  # bytes that a mutant may allocate
# Imported once, before the forks. nelbo must not be among them, or a fork would run the unchanged code.
WARM = ("torch", "numpy", "scipy.stats", "mpmath", "accelerate", "matplotlib.pyplot", "PIL.Image", "typer", "rich")


class Watch:
    """Inside a test process: note the seconds of each test; end the process when one takes over `limit` CPU seconds."""

    def __init__(self, limit: int) -> None:
        self.limit, self.seconds, self.failed = limit, Counter[str](), ""

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        arm(self.limit)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.seconds[report.nodeid] += report.duration
        self.failed = report.nodeid if report.failed else self.failed


def arm(limit: int) -> None:
    """End this process, even inside a loop in C, after `limit` seconds of CPU time, or five times that by the clock."""
    signal.setitimer(signal.ITIMER_PROF, limit)
    signal.alarm(5 * limit)


def start(tree: Path, tests: tuple[str, ...], limit: int) -> int:
    """Fork a process, warm but without nelbo, that runs tests in a tree; what it finds is in found.json and log.txt."""
    (tree / "found.json").unlink(missing_ok=True)
    if pid := os.fork():
        return pid
    try:
        os.setsid()
        os.chdir(tree)
        log = os.open("log.txt", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        for stream in (1, 2):
            os.dup2(log, stream)
        resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))
        del sys.modules["tests"]  # the checkout's
        sys.path[:] = [str(tree / "src"), *(place for place in sys.path if Path(place).resolve() != ROOT)]
        os.environ["PYTHONPATH"] = str(tree / "src")
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        arm(limit)  # for what comes before the first test
        options = ["-x", "-q", "-m", "not slow and not gpu", "-p", "no:cacheprovider", f"--basetemp={tree / 'tmp'}"]
        code = pytest.main([*options, *tests], plugins=[watch := Watch(limit)])
        arm(0)
        Path("found.json").write_text(json.dumps({"code": code, "by": watch.failed, "seconds": watch.seconds}))
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(1)


def outcome(tree: Path, pid: int, status: int) -> dict[str, object]:
    """What a finished process found; whatever it started ends with it."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)
    if os.waitstatus_to_exitcode(status) in (-signal.SIGPROF, -signal.SIGALRM):
        return {"verdict": "timed out"}
    path = tree / "found.json"
    found = json.loads(path.read_text()) if path.exists() else {"code": 1, "by": "the end of the process"}
    return found | {"verdict": "killed" if found.pop("code") else "survived"}


def plant(place: Path) -> Path:
    """Copy what tests need of the tree."""
    for name in ("src", "tests", "docs"):
        shutil.copytree(ROOT / name, place / name, ignore=shutil.ignore_patterns("__pycache__"))
    return Path(shutil.copy(ROOT / "pyproject.toml", place)).parent


def warm() -> None:
    """Import what every test process needs, without a GPU, and let failing hypothesis tests fail without shrinking."""
    os.environ |= {"CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1", "MPLBACKEND": "Agg"}
    for name in WARM:
        importlib.import_module(name)
    phases = (hypothesis.Phase.explicit, hypothesis.Phase.generate)
    hypothesis.settings.register_profile("mutants", derandomize=True, database=None, phases=phases)
    hypothesis.settings.load_profile("mutants")  # tests/conftest.py's own profile inherits from it
    assert "nelbo" not in sys.modules


def limits(tree: Path, chosen: list[Mutant]) -> dict[str, int]:
    """Run all tests on the unchanged tree, which must pass; the CPU seconds that one may take, by source file."""
    selections = {mutant.path: mutant.tests for mutant in chosen}
    union = tuple(dict.fromkeys(name for tests in selections.values() for name in tests))
    found = outcome(tree, *os.waitpid(start(tree, union, 600), 0))
    if found["verdict"] != "survived":
        raise SystemExit(f"the tests must pass before they judge mutants: {found}\n{(tree / 'log.txt').read_text()}")
    took = [(name.split("::")[0], seconds) for name, seconds in found["seconds"].items()]
    longest = {path: max(s for name, s in took if name in tests) for path, tests in selections.items()}
    return {path: 10 + int(3 * seconds) for path, seconds in longest.items()}


def is_settled(mutant: Mutant, results: dict[str, dict[str, object]]) -> bool:
    """Whether an earlier run judged this very text; a survivor, by these very tests."""
    known = results.get(mutant.key, {"text": ""})
    return known["text"] == digest(mutant.text) and (known["verdict"] != "survived" or known["judges"] == mutant.judges)


def judge(todo: list[Mutant], trees: list[Path], limit: dict[str, int], deadline: float, results: Path) -> None:
    """Run the tests on each mutant, one a tree at a time; start none after the deadline. Append each verdict."""
    free, queue, running = list(trees), list(enumerate(todo, 1)), dict[int, tuple[Mutant, Path]]()
    try:
        while running or (queue and time.monotonic() < deadline):
            while free and queue and time.monotonic() < deadline:
                tree, (number, mutant) = free.pop(), queue.pop(0)
                (tree / mutant.path).replace(tree / "unchanged.py")
                (tree / mutant.path).write_text(mutant.text, "utf-8")
                os.utime(tree / mutant.path, (number, number))  # a time of its own: no stale bytecode is taken for it
                pid = start(tree, mutant.tests, limit[mutant.path])
                running[pid] = mutant, tree
            pid, status, used = os.wait4(-1, 0)
            mutant, tree = running.pop(pid)
            found = outcome(tree, pid, status) | {"seconds": round(used.ru_utime + used.ru_stime, 1)}
            (tree / "unchanged.py").replace(tree / mutant.path)
            free.append(tree)
            record = {"key": mutant.key, "text": digest(mutant.text), "judges": mutant.judges, **found}
            with results.open("a", encoding="utf-8") as file:
                file.write(json.dumps(record) + "\n")
            print(f"{found['verdict']:9} {found['seconds']:6.1f} s  {mutant}", flush=True)
    finally:
        for pid in running:
            os.killpg(pid, signal.SIGKILL)


def read_results(path: Path) -> dict[str, dict[str, object]]:
    """The last verdict on each mutant."""
    path.touch()
    return {record["key"]: record for record in map(json.loads, path.read_text("utf-8").splitlines())}


def report_on(chosen: list[Mutant], num_all: int, results: dict[str, dict[str, object]]) -> str:
    """Markdown: the score of each package, then the survivors."""
    judged = {mutant: str(results[mutant.key]["verdict"]) for mutant in chosen if is_settled(mutant, results)}
    lines = ["# Mutation testing", "", f"{len(judged)} judged of a sample of {len(chosen)} from {num_all} mutants.", ""]
    lines += ["| package | judged | killed | timed out | survived | score |", "|---|---|---|---|---|---|"]
    for name in (*PACKAGES, "all"):
        verdicts = Counter(v for m, v in judged.items() if name in ("all", Path(m.path).parts[2]))
        num, left = verdicts.total(), verdicts["survived"]
        score = f"{100 * (num - left) / num:.1f}%" if num else "-"
        lines.append(f"| {name} | {num} | {verdicts['killed']} | {verdicts['timed out']} | {left} | {score} |")
    lines += ["", "## Survivors", ""]
    for m in sorted((m for m, verdict in judged.items() if verdict == "survived"), key=lambda m: (m.path, m.line)):
        lines += [f"- `{m.path}:{m.line}`", f"  - `{m.before}`", f"  - `{m.after}`"]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Judge what is left of the sample, then write and print the report."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--num", type=int, default=300, help="mutants in the sample (300)")
    parser.add_argument("--minutes", type=float, default=60, help="start no mutant later than this (60)")
    parser.add_argument("--workers", type=int, default=2, help="test processes at a time (2)")
    parser.add_argument("--out", type=Path, default=Path("runs/mutants"), help="folder of the verdicts and the report")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that the forks end with this process
    deadline, results = time.monotonic() + 60 * options.minutes, options.out / "results.jsonl"
    options.out.mkdir(parents=True, exist_ok=True)
    chosen, num_all = sample(options.num)
    todo = [mutant for mutant in chosen if not is_settled(mutant, read_results(results))]
    if todo:
        warm()
        with tempfile.TemporaryDirectory(prefix="nelbo-mutants-") as place:
            trees = [plant(Path(place) / str(k)) for k in range(options.workers)]
            print(f"{len(todo)} mutants to judge, after one run of the tests as they are", flush=True)
            judge(todo, trees, limits(trees[0], todo), deadline, results)
    print(report := report_on(chosen, num_all, read_results(results)))
    (options.out / "report.md").write_text(report, "utf-8")


if __name__ == "__main__":
    main()
