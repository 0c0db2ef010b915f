"""Algorithm 1: draw images, t and noise; step on the gradient; until the budget is spent."""

import math
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from torch import Tensor, nn
from torch.nn.utils import clip_grads_with_norm_, get_total_norm

from nelbo.data import ImageDataset, TrainingStream, loader
from nelbo.errors import ConfigurationError, NonFiniteError
from nelbo.objective import Draws, Objective
from nelbo.randomness import DROPOUT, derived_seed, step_generator
from nelbo.training.ema import averaged
from nelbo.training.hardware import bf16_wanted, can_compile, compiled, keep_freed_memory
from nelbo.training.metrics import MetricsLog, round_to
from nelbo.training.options import TrainerOptions
from nelbo.training.state import TrainState

STATE_FILE, METRICS_FILE = "state.safetensors", "metrics.jsonl"
PREVIEW_PAUSE = 20  # by the clock, a preview is followed by so many times its own duration without one


@dataclass(frozen=True)
class Progress:
    """What a progress bar shows after each step: how far (0..1), images/s, and the last line of the metrics."""

    step: int
    fraction: float
    seconds: float
    images_per_second: float
    record: dict[str, Any]


Preview = Callable[[nn.Module, int], dict[str, Any]]


class _LookEnded(Exception):
    """A signal came while the caller was looking at the network."""


class Trainer:
    """Trains a network on an objective until the budget is spent, a signal comes, or a number stops being finite.

    The same folder again goes on where the last saved state ended, bit for bit as if it had never stopped: with
    `steps` as the budget the outcome doesn't depend on interruptions at all; with `minutes` the clock decides how many
    steps there are.

    Args:
        network: what is trained; left on the accelerator's device.
        objective: batch -> losses.
        dataset: uint8 images.
        options: see `TrainerOptions`.
        folder: where the state and the metrics are kept.
        on_preview: called with the averaged network and the step; what it returns joins the metrics.
        on_save: called with the averaged network's weights and the step after each saved state.
        on_record: called with each line of the metrics.
        on_progress: called after each step.
    """

    def __init__(
        self,
        network: nn.Module,
        objective: Objective,
        dataset: ImageDataset,
        options: TrainerOptions,
        folder: Path,
        on_preview: Preview | None = None,
        on_save: Callable[[nn.Module, int], None] | None = None,
        on_record: Callable[[dict[str, Any]], None] | None = None,
        on_progress: Callable[[Progress], None] | None = None,
    ) -> None:
        self.options, self.dataset, self.objective, self.folder = options, dataset, objective, folder
        self.on_preview, self.on_save, self.on_record, self.on_progress = on_preview, on_save, on_record, on_progress
        keep_freed_memory()
        AcceleratorState._reset_state()  # else a second trainer of another precision is refused in the same process
        self.accelerator = Accelerator(
            cpu=not torch.cuda.is_available(),  # without it, processes on processors would not find each other
            mixed_precision="bf16" if bf16_wanted(options.precision) else "no",
        )
        if options.batch_size % self.accelerator.num_processes:
            raise ConfigurationError(
                f"--batch-size {options.batch_size} must be shared by {self.accelerator.num_processes} processes alike."
            )
        network = network.to(self.accelerator.device)
        objective.to(self.accelerator.device)
        optimizer = torch.optim.AdamW(
            network.parameters(),
            lr=options.learning_rate,
            betas=options.betas,
            weight_decay=options.weight_decay,
            fused=self.accelerator.device.type in ("cpu", "cuda"),
        )
        self.state = TrainState(network, averaged(network, options.ema), optimizer, objective)
        self.metrics = MetricsLog(folder / METRICS_FILE)
        if (folder / STATE_FILE).exists():
            self.state.load(folder / STATE_FILE)
        self._refuse_divergence()
        if self.metrics.path.exists():  # also where a kill came before the first saved state
            self._on_main(lambda: self.metrics.cut_after(self.state.step))
        device = self.accelerator.device
        if options.compile and can_compile(device):
            at_once = options.micro_batch is None and self.accelerator.num_processes == 1
            network = compiled(network, device, recorded=at_once)
        self.network = self.accelerator.prepare_model(network)
        self.stream = TrainingStream(len(dataset), options.batch_size, options.seed)
        self.stopped_by: str | None = None
        self._looking, self._looked_at = False, -1

    def _refuse_divergence(self) -> None:
        """Processes that don't share a disk would each go on from a state of their own, or from none."""
        if self.accelerator.num_processes > 1:
            step = torch.tensor([self.state.step], device=self.accelerator.device)
            steps = self.accelerator.gather(step).tolist()
            if len(set(steps)) > 1:
                raise ConfigurationError(
                    f"the processes found states of different steps ({', '.join(map(str, steps))}) in {self.folder}; "
                    "put --out on a disk that all machines share."
                )

    @property
    def fraction(self) -> float:
        """How much of the budget is spent, 0..1: the larger share where both steps and minutes are given."""
        options, state = self.options, self.state
        by_steps = state.step / options.steps if options.steps else 0.0
        by_clock = state.seconds / (60 * options.minutes) if options.minutes else 0.0
        return min(1.0, max(by_steps, by_clock))

    def run(self) -> TrainState:
        """Train to the end of the budget; save and leave early on SIGINT or SIGTERM.

        Raises:
            NonFiniteError: a loss or gradient that is NaN or infinite, with the step, t and tensor named; the state
                before that step is saved.
        """
        saved_at, began_at = self.state.seconds, self.state.step
        previewed, next_preview = self._previews_due(), self.state.seconds
        batches: Iterator[tuple[int, Tensor, Tensor | None]] | None = None
        with self._signals():
            while not self._finished():
                if batches is None:
                    batches = self._batches()
                began = time.monotonic()
                _, images, labels = next(batches)
                try:
                    self._step(images, labels)
                except NonFiniteError:
                    self._save()
                    raise
                self.state.step += 1
                self._count_time(began)
                self._report(time.monotonic() - began)
                affordable = not self._previews_by_clock or self.state.seconds >= next_preview
                if self._previews_due() > previewed and affordable and self.fraction < 1:
                    previewed = self._previews_due()
                    next_preview = self.state.seconds + PREVIEW_PAUSE * self._preview()
                if self._save_due(saved_at) and self.fraction < 1:
                    saved_at = self.state.seconds
                    self._save()
            ended = (
                self.fraction >= 1 and self.state.step > began_at
            )  # a state saved at the end has had its last preview
            if ended and self._looked_at != self.state.step:
                self._preview()
            self._save()
        return self.state

    def _batches(self) -> Iterator[tuple[int, Tensor, Tensor | None]]:
        a = self.accelerator
        return loader(
            self.dataset, self.stream, self.state.step, a.process_index, a.num_processes, self.options.workers
        )

    def _step(self, images: Tensor, labels: Tensor | None) -> None:
        """One optimizer step on this process's share of the global batch."""
        options, accelerator = self.options, self.accelerator
        generator = step_generator(options.seed, self.state.step)
        draws = self.objective.draw(options.batch_size, self.dataset.shape, generator)
        mirrored = torch.rand(options.batch_size, generator=generator) < 0.5
        share = options.batch_size // accelerator.num_processes
        own = slice(accelerator.process_index * share, (accelerator.process_index + 1) * share)
        torch.manual_seed(derived_seed(options.seed, DROPOUT, self.state.step, accelerator.process_index))

        if options.flip:
            images = torch.where(mirrored[own][:, None, None, None], images.flip(-1), images)
        parts = list(self._micro_batches(images, labels, {name: draw[own] for name, draw in draws.items()}))
        outcomes = []
        for i, part in enumerate(parts):
            last = i == len(parts) - 1
            with nullcontext() if last else accelerator.no_sync(self.network):
                losses = self.objective(self.network, *part)
                accelerator.backward(losses.weighted.sum() / share)
            outcomes.append(losses)
        weighted, loss = (self._gathered([getattr(o, name) for o in outcomes]) for name in ("weighted", "loss"))
        places = [o.position for o in outcomes if o.position is not None]
        terms = {name: self._gathered([o.terms[name] for o in outcomes]) for name in outcomes[0].terms}
        self._update(weighted, draws.get("t"))
        self.objective.learn(draws, loss)
        self.state.window.add(weighted, loss, self._gathered(places) if places else None, terms)

    def _micro_batches(
        self, images: Tensor, labels: Tensor | None, draws: Draws
    ) -> Iterator[tuple[Tensor, Tensor | None, Draws]]:
        size, device = self.options.micro_batch or len(images), self.accelerator.device
        for start in range(0, len(images), size):
            part = slice(start, start + size)
            yield (
                images[part].to(device, non_blocking=True),
                None if labels is None else labels[part].to(device, non_blocking=True),
                {name: draw[part].to(device, non_blocking=True) for name, draw in draws.items()},
            )

    def _gathered(self, parts: list[Tensor]) -> Tensor:
        """One value an example for the whole global batch, on the processor."""
        gathered: Tensor = self.accelerator.gather(torch.cat([part.detach().float() for part in parts]))
        return gathered.cpu()

    def _update(self, weighted: Tensor, t: Tensor | None) -> None:
        """Clip, check, and step the optimizer and the moving average."""
        state, options = self.state, self.options
        parameters = [p for p in state.network.parameters() if p.grad is not None]
        norm = get_total_norm([p.grad for p in parameters if p.grad is not None])
        if not bool(weighted.isfinite().all()) or not bool(norm.isfinite()):
            raise self._non_finite(weighted, t)  # before clipping, which would spread the one tensor's NaN over all
        clip_grads_with_norm_(parameters, options.clip_gradient, norm)
        warm = min(1.0, (state.step + 1) / options.warmup) if options.warmup else 1.0
        cooling = 0.5 * (1 + math.cos(math.pi * self.fraction)) if options.decay == "cosine" else 1.0
        for group in state.optimizer.param_groups:
            group["lr"] = options.learning_rate * warm * cooling
        state.optimizer.step()
        state.optimizer.zero_grad(set_to_none=True)
        state.average.update_parameters(state.network)
        self.gradient_norm = float(norm)

    def _non_finite(self, weighted: Tensor, t: Tensor | None) -> NonFiniteError:
        """Name the step, t (where there is one) and the tensor at fault."""
        bad = ~weighted.isfinite()
        if bool(bad.any()):
            where = "" if t is None else f", at t = {', '.join(str(int(place)) for place in t[bad][:4])},"
            what = f"the loss of {int(bad.sum())} of {len(bad)} examples{where}"
        else:
            named = self.state.network.named_parameters()
            names = [name for name, p in named if p.grad is not None and not bool(p.grad.isfinite().all())]
            what = f"the gradient of {names[0] if names else 'the network'}"
        return NonFiniteError(
            f"{what} is not finite at step {self.state.step + 1}; the last good state is in "
            f"{self.folder / STATE_FILE}. Train into another folder with a lower --learning-rate, a longer "
            "--set training.warmup=STEPS, or --precision fp32."
        )

    def _report(self, seconds: float) -> None:
        state, record = self.state, {}
        if state.step % self.options.log_every == 0:
            record = {
                "step": state.step,
                "minutes": round_to(state.seconds / 60, 5),
                "images_per_second": round_to(self.options.batch_size / seconds, 4),
                **state.window.averages(),
                "gradient_norm": round_to(self.gradient_norm, 4),
                "learning_rate": round_to(state.optimizer.param_groups[0]["lr"], 6),
            }
            self._on_main(lambda: self._log(record))
        if self.on_progress is not None and self.accelerator.is_main_process:
            speed = self.options.batch_size / seconds
            self.on_progress(Progress(state.step, self.fraction, state.seconds, speed, record))

    def _log(self, record: dict[str, Any]) -> None:
        self.metrics.append(record)
        if self.on_record is not None:
            self.on_record(record)

    def _preview(self) -> float:
        """Let the caller look at the averaged network; its time, which is returned, counts towards the budget.

        A signal ends the look.
        """
        if self.on_preview is None:
            return 0.0
        began, before, outcome = time.monotonic(), self.state.seconds, {}
        if self.accelerator.is_main_process:
            try:
                self._looking = True
                outcome = self.on_preview(self.state.average.module, self.state.step)
            except _LookEnded:
                pass
            finally:
                self._looking = False
        self._looked_at = self.state.step
        self.accelerator.wait_for_everyone()
        self._count_time(began)
        if outcome:
            record = {"step": self.state.step, "minutes": round_to(self.state.seconds / 60, 5), **outcome}
            self._on_main(lambda: self._log(record))
        return self.state.seconds - before

    def _count_time(self, began: float) -> None:
        """Add the time since `began` to the run's clock. All processes read one clock, so that all act alike."""
        seconds = self.state.seconds + time.monotonic() - began
        if self.accelerator.num_processes > 1:
            own = torch.tensor([seconds], dtype=torch.float64, device=self.accelerator.device)
            seconds = float(self.accelerator.gather(own).max())
        self.state.seconds = seconds

    @property
    def _previews_by_clock(self) -> bool:
        return self.options.preview_every is None and self.options.minutes is not None

    def _previews_due(self) -> int:
        """How many previews should have been shown by now."""
        every = self.options.preview_every
        return self.state.step // every if every else int(10 * self.fraction)

    def _save_due(self, saved_at: float) -> bool:
        every = self.options.save_every
        by_step = every is not None and self.state.step % every == 0
        return by_step or self.state.seconds - saved_at > 60 * self.options.save_minutes

    def _save(self) -> None:
        def save() -> None:
            self.state.save(self.folder / STATE_FILE)
            if self.on_save is not None:
                self.on_save(self.state.average.module, self.state.step)

        self._on_main(save)
        self.accelerator.wait_for_everyone()

    def _finished(self) -> bool:
        """Whether the budget is spent, or a signal has reached any process: all leave the loop at the same step."""
        stopped = self.stopped_by is not None
        if self.accelerator.num_processes > 1:
            stopped = bool(self.accelerator.gather(torch.tensor([stopped], device=self.accelerator.device)).any())
        return stopped or self.fraction >= 1

    def _on_main(self, action: Callable[[], None]) -> None:
        if self.accelerator.is_main_process:
            action()

    @contextmanager
    def _signals(self) -> Iterator[None]:
        """SIGINT and SIGTERM end training after the step under way; a second one ends it at once, unsaved."""
        if threading.current_thread() is not threading.main_thread():  # only the main thread hears signals
            yield
            return

        def stop(number: int, frame: FrameType | None) -> None:
            if self.stopped_by is not None:
                raise KeyboardInterrupt
            self.stopped_by = signal.Signals(number).name
            if self._looking:
                raise _LookEnded

        previous = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)
