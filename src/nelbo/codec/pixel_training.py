"""Training of the pixel network."""

from collections.abc import Callable

import torch
from torch import Tensor

from nelbo.codec.grid import OFFSETS, rounded
from nelbo.codec.options import FittingOptions
from nelbo.diffusion.passes import passes
from nelbo.diffusion.pixel_decoder import features, log2_masses, on_grid, top_place
from nelbo.networks.pixel_options import PixelOptions
from nelbo.networks.pixels import PixelNetwork
from nelbo.randomness import INITIALISATION, derived_seed

OTHER_PASSES = 0.05  # weight in the loss of unknown pixels that are not in the pass


def train_pixels(
    xhat_0: Tensor,
    images: Tensor,
    levels: int,
    steps: int,
    options: FittingOptions,
    generator: torch.Generator,
    progress: Callable[[int, int], None],
) -> tuple[PixelNetwork, float]:
    """Train a pixel network on random passes of random images, whose xhat_0 is rounded at random offsets.

    Args:
        xhat_0: (N, C, H, W) the diffusion network's last prediction of each image.
        images: (N, C, H, W) their levels.
        levels: K.
        steps: optimizer steps.
        options: `hidden`, `end_batch`, `learning_rate` and `seed` are used.
        generator: of the batches, passes and offsets.
        progress: called after each step.

    Returns:
        The network, and the mean bits per image that it needed in the last quarter of its training.
    """
    shape, top = tuple(images.shape[1:]), top_place(levels)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(derived_seed(options.seed, INITIALISATION))
        network = PixelNetwork(PixelOptions(shape[0], options.hidden, levels))
    optimizer = torch.optim.Adam(network.parameters(), lr=options.learning_rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, options.learning_rate, total_steps=steps)
    masks = [a_pass.mask(shape) for a_pass in passes(shape[0])]
    values, bits = on_grid(xhat_0, levels), []
    for step in range(steps):
        some = torch.randint(len(images), (options.end_batch,), generator=generator)
        number = torch.randint(len(masks), (options.end_batch,), generator=generator)
        known = torch.stack([torch.stack(masks[: n + 1]).any(0) & ~masks[n] for n in number.tolist()])
        now = torch.stack([masks[n] for n in number.tolist()])
        offset = int(torch.randint(OFFSETS, (1,), generator=generator))
        center = rounded(values[some], offset).clamp(0, top)
        x = images[some]
        output = network.everywhere(features(center, x, known, levels).float())
        nats = -log2_masses(output, center.float(), x.float(), levels)
        loss = (nats * (now + OTHER_PASSES * (~known & ~now))).sum() / now.sum()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        bits.append(float((nats * now).sum().detach() / now.sum()))
        progress(step + 1, steps)
    late = bits[-max(len(bits) // 4, 1) :]
    return network.eval(), sum(late) / len(late) * images[0].numel()
