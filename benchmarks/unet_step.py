"""Training and sampling step of nelbo's U-Net against diffusers' `UNet2DModel`, both with 35.7M parameters.

    python -m benchmarks.unet_step [--quick] [--compile] [--device cuda] [--json]

Every candidate runs in its own process, so that its peak memory can be measured. The processes take turns: in each
round the candidates run in one order and then in the reverse order (A B B A), so a machine that slows down or is shared
affects all of them equally. A turn is one warm-up step and three measured steps; the medians are reported. "Share" is
the rate of the U-Net's arithmetic (12.44 GFLOP forward for one 32x32 image, three times that for training) divided by
the rate of a large square matrix product of the same dtype in this run. A network that needs fewer products for the
same result can exceed 100%.

A profile of an earlier eager bfloat16 step (AMX, one thread, CPU time, batch 8) explains the rest of the share.
Convolutions and matrix products take about half of the step and reach about half the rate of the large square product.
Group normalisation takes about an eighth, copies (weights and gradients between float32 and bfloat16, layouts) about a
seventh; SiLU, additions, dropout and Adam take the rest. None of these computes a matrix product, so even perfect
convolutions would leave an eager step at about half the rate.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from importlib.util import find_spec

import torch
from torch import Tensor, nn

FORWARD_GFLOP = 12.44
TRAINING_FACTOR = 3
STEPS_A_TURN = 3


@dataclass(frozen=True)
class Candidate:
    """One way to run the network: its package, the dtype of its convolutions, and whether it is compiled."""

    package: str
    dtype: str
    compiled: bool = False

    @property
    def name(self) -> str:
        return f"{self.package} {self.dtype}{' compiled' if self.compiled else ''}"

    def build(self) -> nn.Module:
        return ours() if self.package == "nelbo" else theirs()


@dataclass
class Result:
    """Seconds of each repetition of a step, and the peak memory in bytes after the last one."""

    seconds: dict[str, list[float]] = field(default_factory=lambda: {"sample": [], "train": []})
    peak: dict[str, int] = field(default_factory=dict)

    def rate(self, phase: str, batch: int) -> float:
        """Return the images per second of the median step."""
        return batch / statistics.median(self.seconds[phase])


def ours() -> nn.Module:
    """Build `UNet.cifar10()` in the memory format that the trainer uses, in a process that keeps freed memory."""
    from nelbo.networks import UNet
    from nelbo.training import keep_freed_memory

    keep_freed_memory()
    network: nn.Module = UNet.cifar10().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return network


def as_trained(network: nn.Module, device: torch.device) -> nn.Module:
    """Return nelbo's network compiled as by the trainer."""
    from nelbo.training import compiled  # not at the top: the process of diffusers would import it too

    return compiled(network, device, recorded=True)


def as_sampled(candidate: Candidate, network: nn.Module) -> nn.Module:
    """Return nelbo's network as `Run.sample` runs it, or diffusers' network unchanged."""
    if candidate.package != "nelbo" or candidate.dtype != "bfloat16":
        return network
    from nelbo.networks import InBFloat16

    return InBFloat16(network)


def theirs() -> nn.Module:
    """Build diffusers' network with the configuration of google/ddpm-cifar10-32 and the paper's dropout."""
    from diffusers import UNet2DModel

    network: nn.Module = UNet2DModel(
        sample_size=32,
        down_block_types=("DownBlock2D", "AttnDownBlock2D", "DownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "UpBlock2D", "AttnUpBlock2D", "UpBlock2D"),
        block_out_channels=(128, 256, 256, 256),
        layers_per_block=2,
        attention_head_dim=None,
        norm_eps=1e-6,
        flip_sin_to_cos=False,
        freq_shift=1,
        downsample_padding=0,
        dropout=0.1,
    )
    return network


class Steps:
    """The two steps of one candidate on fixed random inputs."""

    def __init__(self, candidate: Candidate, batch: int, device: torch.device) -> None:
        torch.manual_seed(0)
        self.dtype: torch.dtype = getattr(torch, candidate.dtype)
        self.device = device
        network = candidate.build().to(device)
        self.network = network
        self.run: Callable[..., object] = as_trained(network, device) if candidate.compiled else network
        self.look = self.run if candidate.compiled else as_sampled(candidate, network)
        self.optimizer = torch.optim.Adam(network.parameters(), lr=2e-4, fused=True)
        self.x_t, self.noise = (torch.randn(batch, 3, 32, 32, device=device) for _ in range(2))
        self.t = torch.randint(1, 1001, (batch,), device=device)

    def predict(self, run: Callable[..., object]) -> Tensor:
        """Return the prediction under autocast to the candidate's dtype; diffusers returns it inside a record."""
        with torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32):
            output = run(self.x_t, self.t)
        prediction = output if isinstance(output, Tensor) else output.sample  # type: ignore[attr-defined]
        assert isinstance(prediction, Tensor)
        return prediction

    def train(self) -> None:
        """Run forward, mean squared error, backward and fused Adam."""
        self.network.train()
        loss = (self.predict(self.run).float() - self.noise).square().mean()
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)

    def sample(self) -> None:
        """Run the network as one reverse step does."""
        self.network.eval()
        with torch.no_grad():
            self.predict(self.look)

    def timed(self, phase: str) -> float:
        """Return the seconds of one step."""
        step = self.train if phase == "train" else self.sample
        synchronise(self.device)
        start = time.perf_counter()
        step()
        synchronise(self.device)
        return time.perf_counter() - start


def synchronise(device: torch.device) -> None:
    """Wait for the GPU; CPU work is synchronous."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def peak_memory(device: torch.device) -> int:
    """Return the peak memory of this process in bytes: allocated on the GPU, or resident in main memory."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def matmul_rate(dtype: str, device: torch.device, size: int, repetitions: int) -> float:
    """Return the GFLOP/s of a square matrix product, the best of several, as the rate that this machine can reach."""
    a, b = (torch.randn(size, size, device=device).to(getattr(torch, dtype)) for _ in range(2))
    seconds = []
    for _ in range(repetitions + 1):
        synchronise(device)
        start = time.perf_counter()
        a @ b
        synchronise(device)
        seconds.append(time.perf_counter() - start)
    return 2e-9 * size**3 / min(seconds[1:])


# ---- one process per candidate: it reads one phase per line and writes seconds and peak memory per line


def serve(candidate: Candidate, batch: int, device: torch.device) -> None:
    """Run one step per line of standard input, the phase; print its seconds and the peak memory so far."""
    steps = Steps(candidate, batch, device)
    for line in sys.stdin:
        print(json.dumps([steps.timed(line.strip()), peak_memory(device)]), flush=True)


class Worker:
    """The parent's side of a process that runs `serve`."""

    def __init__(self, candidate: Candidate, batch: int, device: torch.device) -> None:
        specification = json.dumps(asdict(candidate))
        command = [sys.executable, "-m", "benchmarks.unet_step", "--worker", specification]
        command += ["--batch", str(batch), "--device", str(device)]
        self.name = candidate.name
        self.result = Result()
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def step(self, phase: str, keep: bool = True) -> None:
        """Run one step in the process; record its time if `keep`, otherwise it is a warm-up."""
        assert self.process.stdin and self.process.stdout
        self.process.stdin.write(phase + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            raise SystemExit(f"the process that measures '{self.name}' ended early; its error message is above")
        seconds, self.result.peak[phase] = json.loads(answer)
        if keep:
            self.result.seconds[phase].append(seconds)


@contextmanager
def workers(candidates: list[Candidate], batch: int, device: torch.device) -> Iterator[list[Worker]]:
    """Start one process per candidate, and end them all after the block."""
    started: list[Worker] = []
    try:
        for candidate in candidates:
            started.append(Worker(candidate, batch, device))
        yield started
    finally:
        for worker in started:
            worker.process.terminate()
            worker.process.wait()


def measure(candidates: list[Candidate], batch: int, device: torch.device, rounds: int) -> dict[Candidate, Result]:
    """Measure every candidate; sampling comes first, because the peak memory of a process never falls."""
    with workers(candidates, batch, device) as team:
        for phase in ("sample", "train"):
            for worker in team:
                for _ in range(2):
                    worker.step(phase, keep=False)
            for _ in range(rounds):
                for worker in [*team, *reversed(team)]:
                    worker.step(phase, keep=False)  # warms caches and threads up, as they are during a run
                    for _ in range(STEPS_A_TURN):
                        worker.step(phase)
        return {candidate: worker.result for candidate, worker in zip(candidates, team, strict=True)}


# ---- the report


def report(results: dict[Candidate, Result], matmul: dict[str, float], batch: int) -> list[dict[str, object]]:
    """Return one flat record of figures per candidate."""
    records: list[dict[str, object]] = []
    for candidate, result in results.items():
        train, sample = result.rate("train", batch), result.rate("sample", batch)
        peak = matmul[candidate.dtype]
        records.append(
            {
                "candidate": candidate.name,
                "train_images_per_second": train,
                "train_share": train * FORWARD_GFLOP * TRAINING_FACTOR / peak,
                "train_peak_bytes": result.peak["train"],
                "sample_images_per_second": sample,
                "sample_steps_per_second": sample / batch,
                "sample_share": sample * FORWARD_GFLOP / peak,
                "sample_peak_bytes": result.peak["sample"],
            }
        )
    return records


def ratios(results: dict[Candidate, Result], batch: int) -> dict[str, dict[str, float]]:
    """Return nelbo's speed relative to diffusers in eager float32, its default."""
    theirs = next((result for candidate, result in results.items() if candidate.package == "diffusers"), None)
    if theirs is None:
        return {}
    return {
        candidate.name: {phase: result.rate(phase, batch) / theirs.rate(phase, batch) for phase in ("train", "sample")}
        for candidate, result in results.items()
        if candidate.package == "nelbo"
    }


def show(record: dict[str, object]) -> None:
    """Print the tables."""
    from rich.console import Console
    from rich.table import Table

    console = Console(width=None if sys.stdout.isatty() else 120)
    table = Table(title=f"35.7M U-Net, 32x32x3, batch {record['batch']}, {record['machine']}", title_justify="left")
    table.add_column("candidate")
    for title in ("train img/s", "share", "peak MiB", "sample img/s", "steps/s", "share", "peak MiB"):
        table.add_column(title, justify="right")
    for row in record["candidates"]:  # type: ignore[attr-defined]
        table.add_row(
            row["candidate"],
            f"{row['train_images_per_second']:.2f}",
            f"{row['train_share']:.0%}",
            f"{row['train_peak_bytes'] / 2**20:,.0f}",
            f"{row['sample_images_per_second']:.2f}",
            f"{row['sample_steps_per_second']:.2f}",
            f"{row['sample_share']:.0%}",
            f"{row['sample_peak_bytes'] / 2**20:,.0f}",
        )
    console.print(table)
    for dtype, rate in record["matmul_gflops"].items():  # type: ignore[attr-defined]
        console.print(f"matrix product in {dtype}: {rate:,.0f} GFLOP/s")
    for name, ratio in record["ratios"].items():  # type: ignore[attr-defined]
        console.print(
            f"{name}: {ratio['train']:.2f}x training, {ratio['sample']:.2f}x sampling of diffusers in float32"
        )


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.unet_step", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--batch", type=int, default=32, help="images per step (32)")
    parser.add_argument(
        "--rounds", type=int, default=2, help="rounds of A B B A; each measures six steps per candidate (2)"
    )
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu", help="cpu or cuda")
    parser.add_argument("--compile", action="store_true", help="also measure torch.compile (compiling takes minutes)")
    parser.add_argument(
        "--quick", action="store_true", help="one round and a small matrix product, to check that it works"
    )
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> None:
    """Measure and print."""
    options = arguments()
    device = torch.device(options.device)
    if options.worker:
        serve(Candidate(**json.loads(options.worker)), options.batch, device)
        return

    candidates = [Candidate("nelbo", "float32"), Candidate("nelbo", "bfloat16")]
    if options.compile:
        candidates.append(Candidate("nelbo", "bfloat16", compiled=True))
    if find_spec("diffusers") is None:
        print(
            "diffusers is not installed, so only nelbo is measured; install it by pip install 'nelbo[bench]'",
            file=sys.stderr,
        )
    else:
        candidates[:0] = [Candidate("diffusers", "float32"), Candidate("diffusers", "bfloat16")]

    size, repetitions, rounds = (1024, 2, 1) if options.quick else (4096, 8, options.rounds)
    dtypes = ("float32", "bfloat16")
    before = {dtype: matmul_rate(dtype, device, size, repetitions) for dtype in dtypes}
    results = measure(candidates, options.batch, device, rounds)
    matmul = {dtype: max(before[dtype], matmul_rate(dtype, device, size, repetitions)) for dtype in dtypes}
    machine = torch.cuda.get_device_name(device) if device.type == "cuda" else f"{torch.get_num_threads()} CPU threads"
    record: dict[str, object] = {
        "machine": machine,
        "batch": options.batch,
        "matmul_gflops": matmul,
        "candidates": report(results, matmul, options.batch),
        "ratios": ratios(results, options.batch),
    }
    if options.json:
        print(json.dumps(record, indent=2))
    else:
        show(record)


if __name__ == "__main__":
    main()
