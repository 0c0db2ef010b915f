"""Algorithm 1: draw images, t and noise; take a gradient step; repeat until the budget is spent."""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grads_with_norm_, get_total_norm

from nelbo.condition import ConditionLike
from nelbo.data import ImageDataset, TrainingStream, loader
from nelbo.errors import NelboError
from nelbo.files import or_warn
from nelbo.objective import Draws, Losses, Objective
from nelbo.randomness import DROPOUT, derived_seed, step_generator
from nelbo.training.accelerator import accelerator_for, gathered, largest, require_same_step, true_anywhere
from nelbo.training.budget import Budget
from nelbo.training.ema import averaged
from nelbo.training.hardware import can_compile, compiled
from nelbo.training.memory import keep_freed_memory
from nelbo.training.metrics import MetricsLog, TrainingStep, round_to
from nelbo.training.non_finite import non_finite
from nelbo.training.optimizers import build_optimizer
from nelbo.training.options import TrainerOptions
from nelbo.training.reading import Batch, flipped, next_batch
from nelbo.training.signals import stop_signals
from nelbo.training.state import TrainState

STATE_FILE, METRICS_FILE = "state.safetensors", "metrics.jsonl"

Preview = Callable[[nn.Module, int], dict[str, Any]]


class _PreviewInterrupted(Exception):
    """A stop signal arrived during a preview."""


class Trainer:
    """Trains a network on an objective until the budget is spent, a signal arrives, or a number is not finite.

    If the folder holds a saved state, training resumes from it, with the same result bit for bit as without the
    interruption. With a budget in `steps` the result does not depend on interruptions at all; with `minutes` the clock
    decides how many steps are taken.

    Args:
        network: the network to train; moved to the accelerator's device.
        objective: computes the losses of a batch.
        dataset: uint8 images.
        options: see `TrainerOptions`.
        folder: where the state and the metrics are saved.
        on_preview: called with the averaged network and the step; the values it returns are added to the metrics.
        on_save: called with the averaged network and the step after each saved state.
        on_record: called with each line of the metrics.
        on_progress: called after each step.

    Raises:
        ConfigurationError: the batch cannot be divided evenly among the processes, or they do not share a disk.
        RunError: the saved state is damaged or belongs to another network.
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
        on_progress: Callable[[TrainingStep], None] | None = None,
    ) -> None:
        self.options, self.dataset, self.objective, self.folder = options, dataset, objective, folder
        self.on_preview, self.on_save, self.on_record, self.on_progress = on_preview, on_save, on_record, on_progress
        keep_freed_memory()
        self.accelerator = accelerator_for(options)
        network = network.to(self.accelerator.device)
        objective.to(self.accelerator.device)
        optimizer = build_optimizer(network, options, self.accelerator.device)
        self.state = TrainState(network, averaged(network, options.ema), optimizer, objective)
        self.metrics = MetricsLog(folder / METRICS_FILE)
        self._saved: tuple[int, float] | None = None  # the step and the clock of the state in the file
        if (folder / STATE_FILE).exists():
            self.state.load(folder / STATE_FILE)
            self._saved = (self.state.step, self.state.seconds)
        require_same_step(self.accelerator, self.state.step, folder)
        if self.metrics.path.exists():  # also if a kill came before the first saved state
            self._on_main(lambda: self.metrics.cut_after(self.state.step))
        self.network = self.accelerator.prepare_model(self._compiled(network))
        self.stream = TrainingStream(len(dataset), options.batch_size, options.seed, window=dataset.window)
        self.budget = Budget(options, self.state)
        self.gradient_norm = math.nan  # of the last step, before clipping
        self.stopped_by: str | None = None
        self._previewing, self._previewed_at = False, -1

    @property
    def fraction(self) -> float:
        """Share of the budget spent, 0..1; the larger one if both steps and minutes are limited."""
        return self.budget.fraction

    def run(self) -> TrainState:
        """Train until the budget is spent. On a stop signal, finish the current step, save and return.

        A file that cannot be written before the end is a warning.

        Raises:
            NonFiniteError: a loss or gradient is NaN or infinite; the message names the step, t and the tensor. The
                state before that step is saved.
            DataError: images cannot be read; the state is saved first, as after any `NelboError` of a preview.
            RunError: the state cannot be written at the end.
            KeyboardInterrupt: a second signal arrived; nothing is saved.
        """
        with stop_signals(self._stop):
            try:
                self._train()
            except NelboError:
                with or_warn():
                    self._save()
                raise
            self._save()
        return self.state

    def _train(self) -> None:
        """Take steps until the budget is spent or a signal arrives, with the previews and saves in between."""
        began_at, batches = self.state.step, self._batches()
        while not self._finished():
            began = time.monotonic()
            self._step(*next_batch(self.accelerator, batches, self.state.step))
            self.state.step += 1
            self._count_time(began)
            self._report(time.monotonic() - began)
            if self.budget.preview_due():
                self._preview()
            if self.budget.save_due():
                with or_warn():
                    self._save()
        # a state that was saved at the end of the budget already had its last preview
        if self.budget.spent and self.state.step > began_at and self._previewed_at != self.state.step:
            self._preview()

    def _batches(self) -> Iterator[Batch]:
        """Return this process's share of each batch, from the next step on; workers start with the first batch."""
        own = self.accelerator.process_index, self.accelerator.num_processes
        return (batch[1:] for batch in loader(self.dataset, self.stream, self.state.step, *own, self.options.workers))

    def _step(self, images: Tensor, labels: ConditionLike | None) -> None:
        """Take one optimizer step on this process's share of the global batch."""
        options, index = self.options, self.accelerator.process_index
        share = options.batch_size // self.accelerator.num_processes
        own = slice(index * share, (index + 1) * share)
        # each process draws for the global batch and takes its share, so the draws suit any number of processes
        generator = step_generator(options.seed, self.state.step)
        draws = self.objective.draw(options.batch_size, self.dataset.shape, generator)
        mirrored = torch.rand(options.batch_size, generator=generator) < 0.5
        torch.manual_seed(derived_seed(options.seed, DROPOUT, self.state.step, index))
        if options.flip:
            images, labels = flipped(images, labels, mirrored[own])
        losses = self._backward(images, labels, {name: draw[own] for name, draw in draws.items()})
        self._update(losses.weighted, draws.get("t"))
        self.objective.learn(draws, losses.loss)
        self.state.window.add(losses)

    def _backward(self, images: Tensor, labels: ConditionLike | None, draws: Draws) -> Losses:
        """Accumulate the gradient of the mean loss over micro-batches; return the losses of the global batch."""
        outcomes: list[Losses] = []
        parts = list(self._micro_batches(images, labels, draws))
        for i, part in enumerate(parts):
            last = i == len(parts) - 1  # processes exchange gradients in the last pass only
            with nullcontext() if last else self.accelerator.no_sync(self.network):
                losses = self.objective(self.network, *part)
                self.accelerator.backward(losses.weighted.sum() / len(images))
            outcomes.append(losses)
        places = [each.position for each in outcomes if each.position is not None]
        return Losses(
            gathered(self.accelerator, [each.weighted for each in outcomes]),
            gathered(self.accelerator, [each.loss for each in outcomes]),
            gathered(self.accelerator, places) if places else None,
            {name: gathered(self.accelerator, [each.terms[name] for each in outcomes]) for name in outcomes[0].terms},
            outcomes[0].unit,
        )

    def _micro_batches(
        self, images: Tensor, labels: ConditionLike | None, draws: Draws
    ) -> Iterator[tuple[Tensor, ConditionLike | None, Draws]]:
        size, device = self.options.micro_batch or len(images), self.accelerator.device
        for start in range(0, len(images), size):
            part = slice(start, start + size)
            yield (
                images[part].to(device, non_blocking=True),
                None if labels is None else labels[part].to(device, non_blocking=True),
                {name: draw[part].to(device, non_blocking=True) for name, draw in draws.items()},
            )

    def _update(self, weighted: Tensor, t: Tensor | None) -> None:
        """Check and clip the gradient, then step the optimizer and the moving average."""
        state, options = self.state, self.options
        parameters = [p for p in state.network.parameters() if p.grad is not None]
        norm = get_total_norm([p.grad for p in parameters if p.grad is not None])
        if not bool(weighted.isfinite().all()) or not bool(norm.isfinite()):
            # before clipping, which would spread one tensor's NaN to all tensors
            raise non_finite(state, weighted, t, self.folder / STATE_FILE)
        clip_grads_with_norm_(parameters, options.clip_gradient, norm)
        warm = min(1.0, (state.step + 1) / options.warmup) if options.warmup else 1.0
        cooling = 0.5 * (1 + math.cos(math.pi * self.fraction)) if options.decay == "cosine" else 1.0
        for group in state.optimizer.param_groups:
            group["lr"] = options.learning_rate * warm * cooling
        state.optimizer.step()
        state.optimizer.zero_grad(set_to_none=True)
        state.average.update_parameters(state.network)
        self.gradient_norm = float(norm)

    def _count_time(self, began: float) -> None:
        """Add the time since `began` to the run's clock, which all processes share, so that they agree."""
        self.state.seconds = largest(self.accelerator, self.state.seconds + time.monotonic() - began)

    def _report(self, seconds: float) -> None:
        """Log a line of the metrics if one is due, and report the step, which took `seconds`."""
        state, record, speed = self.state, {}, self.options.batch_size / seconds
        if state.step % self.options.log_every == 0:
            record = {
                "step": state.step,
                "minutes": round_to(state.seconds / 60, 5),
                "images_per_second": round_to(speed, 4),
                **state.window.averages(),
                "gradient_norm": round_to(self.gradient_norm, 4),
                "learning_rate": round_to(state.optimizer.param_groups[0]["lr"], 6),
            }
            self._on_main(lambda: self._log(record))
        if self.on_progress is not None and self.accelerator.is_main_process:
            self.on_progress(TrainingStep(state.step, self.fraction, state.seconds, speed, record))

    def _log(self, record: dict[str, Any]) -> None:
        with or_warn():
            self.metrics.append(record)
            if self.on_record is not None:
                self.on_record(record)

    def _preview(self) -> None:
        """Call `on_preview`, log what it returns, and count its time; a stop signal interrupts it."""
        self.budget.begin_preview()
        if self.on_preview is None:
            return
        began, before, outcome = time.monotonic(), self.state.seconds, {}
        if self.accelerator.is_main_process:
            try:
                self._previewing = True
                outcome = self.on_preview(self.state.average.module, self.state.step)
            except _PreviewInterrupted:
                pass
            finally:
                self._previewing = False
        self._previewed_at = self.state.step
        self.accelerator.wait_for_everyone()
        self._count_time(began)
        if outcome:
            record = {"step": self.state.step, "minutes": round_to(self.state.seconds / 60, 5), **outcome}
            self._on_main(lambda: self._log(record))
        self.budget.end_preview(self.state.seconds - before)

    def _save(self) -> None:
        """Save the state, unless the file holds it already, and call `on_save`."""
        self.budget.mark_saved()
        now = (self.state.step, self.state.seconds)
        try:
            if self.accelerator.is_main_process and self._saved != now:
                self.state.save(self.folder / STATE_FILE)
                self._saved = now
            if self.accelerator.is_main_process and self.on_save is not None:
                self.on_save(self.state.average.module, self.state.step)
        finally:
            self.accelerator.wait_for_everyone()

    def _finished(self) -> bool:
        """Whether the budget is spent or any process was stopped by a signal: all leave the loop at the same step."""
        return true_anywhere(self.accelerator, self.stopped_by is not None) or self.budget.spent

    def _stop(self, name: str) -> None:
        """Stop after the current step because of the signal `name`; a second signal ends training without saving."""
        if self.stopped_by is not None:
            raise KeyboardInterrupt
        self.stopped_by = name
        if self._previewing:
            raise _PreviewInterrupted

    def _compiled(self, network: nn.Module) -> nn.Module:
        """Return the network compiled, if the options ask for it and this machine supports it."""
        device, options = self.accelerator.device, self.options
        wanted = device.type == "cuda" if options.compile is None else options.compile
        single_pass = options.micro_batch is None and self.accelerator.num_processes == 1
        return compiled(network, device, recorded=single_pass) if wanted and can_compile(device) else network

    def _on_main(self, action: Callable[[], None]) -> None:
        if self.accelerator.is_main_process:
            action()
