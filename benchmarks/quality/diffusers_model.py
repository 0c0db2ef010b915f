"""Models of diffusers: `UNet2DModel` and `DDPMScheduler`, trained as in its example of unconditional training.

The settings are those of examples/unconditional_image_generation/train_unconditional.py: AdamW, gradients clipped to
norm 1, a warm-up of 500 steps followed by a cosine, 1,000 steps of the linear schedule, noise prediction, and an
average of the weights with a warm-up. Three things differ: the network has the given number of parameters, the cosine
follows the clock, because the number of steps is not known in advance, and the images come from memory instead of
`datasets`.
"""

import math
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from benchmarks.quality.clock import Peer, Trained, train_peer
from benchmarks.quality.nelbo_model import RUN
from benchmarks.quality.plan import DIFFUSERS, Job
from benchmarks.quality.widths import MOST_LEVELS, halvings, nearest_width, num_parameters
from nelbo.data import Split, TrainingStream
from nelbo.interop import import_model
from nelbo.probability import levels_to_data
from nelbo.randomness import DRAWS, INITIALISATION, derived_seed
from nelbo.runs import DataOptions, DiffusionRun, RunConfig, load_as, read_config
from nelbo.studies import DataRequest
from nelbo.studies.run_data import described
from nelbo.training import bf16_wanted

GROUPS, BLOCKS, STEPS, WARMUP = 8, 2, 1000, 500
MOST_WIDTH = 512


class Diffusers:
    """The library diffusers."""

    packages: tuple[str, ...] = ("diffusers",)

    def train(self, job: Job, split: Split) -> Trained | None:
        """Train or resume; None if a signal stopped the training."""
        return train_peer(DiffusersPeer(job, split), job)

    def load(self, job: Job, data: DataOptions) -> DiffusionRun:
        """Load the run that the model was imported into."""
        return load_as(DiffusionRun, job.place / RUN, device="cpu")


def build(shape: tuple[int, int, int], width: int) -> nn.Module:
    """Build a `UNet2DModel` for images (C, H, W), with attention at the last level but one, as in the example.

    The example has 32 groups per norm. This is the number in nelbo's network, which allows narrow networks.
    """
    from diffusers import UNet2DModel

    levels = 1 + halvings(shape, MOST_LEVELS - 1)
    attended = [level == levels - 2 for level in range(levels)]
    network: nn.Module = UNet2DModel(
        sample_size=shape[1:],
        in_channels=shape[0],
        out_channels=shape[0],
        layers_per_block=BLOCKS,
        block_out_channels=tuple(width << level for level in range(levels)),
        down_block_types=tuple("AttnDownBlock2D" if has else "DownBlock2D" for has in attended),
        up_block_types=tuple("AttnUpBlock2D" if has else "UpBlock2D" for has in reversed(attended)),
        norm_num_groups=GROUPS,
    )
    return network


def cosine(step: int, fraction: float) -> float:
    """Return the share of the learning rate: a linear warm-up, then a cosine that ends with the training time.

    This is `get_cosine_schedule_with_warmup` of diffusers, with the number of steps that the speed so far suggests.
    """
    if step < WARMUP:
        return step / WARMUP
    whole = step / max(fraction, 1e-9)
    return 0.5 * (1 + math.cos(math.pi * min((step - WARMUP) / max(whole - WARMUP, 1), 1)))


class DiffusersPeer(Peer):
    """A model in training by the loop of the example."""

    def __init__(self, job: Job, split: Split) -> None:
        import diffusers
        from diffusers.training_utils import EMAModel

        self.job, self.split, self.step = job, split, 0
        shape, settings = split.train.shape, job.settings
        torch.manual_seed(derived_seed(job.repeat, INITIALISATION))
        width = nearest_width(lambda width: build(shape, width), range(GROUPS, MOST_WIDTH, GROUPS), job.parameters)
        self.network = build(shape, width).train()
        self.num_parameters = num_parameters(lambda: build(shape, width))
        self.version = f"diffusers {diffusers.__version__}"
        self.scheduler = diffusers.DDPMScheduler(num_train_timesteps=STEPS)
        self.optimizer = torch.optim.AdamW(
            self.network.parameters(), lr=settings["learning_rate"], betas=(0.95, 0.999), weight_decay=1e-6, eps=1e-8
        )
        self.average = EMAModel(
            self.network.parameters(), decay=0.9999, use_ema_warmup=True, inv_gamma=1.0, power=3 / 4
        )
        self.bf16 = bf16_wanted(settings["precision"])
        self.stream = TrainingStream(len(split.train), settings["batch_size"], job.repeat)
        torch.manual_seed(derived_seed(job.repeat, DRAWS))

    def advance(self, fraction: float) -> None:
        """Take one step of the example's loop."""
        images = self.split.train
        x_0 = levels_to_data(images.images(self.stream.indices(self.step)), images.levels)
        noise, t = torch.randn(x_0.shape), torch.randint(0, STEPS, (len(x_0),))
        x_t = self.scheduler.add_noise(x_0, noise, t)
        for group in self.optimizer.param_groups:
            group["lr"] = self.job.settings["learning_rate"] * cosine(self.step, fraction)
        with torch.autocast("cpu", torch.bfloat16, enabled=self.bf16):
            predicted = self.network(x_t, t).sample
        F.mse_loss(predicted.float(), noise).backward()
        nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.average.step(self.network.parameters())
        self.step += 1

    def state(self) -> dict[str, Any]:
        """Return the weights, their average, the optimizer and the step."""
        return {
            "step": self.step,
            "network": self.network.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Restore a state; the draws of the steps to come are new."""
        self.step = state["step"]
        self.network.load_state_dict(state["network"])
        self.average.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])
        torch.manual_seed(derived_seed(self.job.repeat, DRAWS, self.step))

    def save(self, place: Path) -> None:
        """Write the averaged weights as a pipeline of diffusers, and import it into a run folder."""
        from diffusers import DDPMPipeline

        self.average.copy_to(self.network.parameters())
        pipeline, part = place / "pipeline", place / "run.part"
        for folder in (pipeline, part, place / RUN):
            shutil.rmtree(folder, ignore_errors=True)
        DDPMPipeline(self.network, self.scheduler).save_pretrained(pipeline)
        import_model(pipeline, part)
        # an import does not know its data, nor that digits have 17 levels
        data = described(DataRequest(**self.job.data), self.split)
        RunConfig(read_config(part).recipe, data, DIFFUSERS).save(part)
        part.rename(place / RUN)
        shutil.rmtree(pipeline)
