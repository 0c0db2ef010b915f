"""Dilated windows: each number by a plain loop, limits that keep sums exact, and the three networks that read them."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from nelbo.diffusion.passes import Pass, num_stages, passes, walk
from nelbo.diffusion.pixel_decoder import features
from nelbo.errors import ConfigurationError
from nelbo.networks import IntegerNetwork, PixelNetwork, PixelOptions
from nelbo.networks.exact_pixels import LARGEST_HIDDEN, OUTPUT_UNIT, RoundedPixelNetwork
from nelbo.networks.integers import UNIT, exact_float32
from nelbo.networks.pixel_options import SIDES, WINDOWS
from nelbo.networks.pixel_windows import INPUT, largest_input, largest_prediction, prediction_shape, relative, windows
from nelbo.networks.pixels import run_pass

DILATED = PixelOptions(channels=2, hidden=6, levels=17, blocks=2, side=8, window=7)


def numbers(known: Tensor, levels: int = 17, width: int = 11, extreme: bool = False) -> Tensor:
    """Return the integers of three images of two channels, (3, 12, 9, width), of any xhat_0 and x_1."""
    generator, top = torch.Generator().manual_seed(1), 2 * (levels - 1)
    center = torch.randint(0, top + 1, (3, 4, 9, width), generator=generator)
    x = torch.randint(0, levels, (3, 2, 9, width), generator=generator)
    if extreme:
        center, x = (center > top / 2) * top, (x > levels / 2) * (levels - 1)
    return features(center, x, known, levels)


def weights_of(options: PixelOptions) -> Tensor:
    """Return weights of a linear prediction, up to 1/5 each."""
    generator = torch.Generator().manual_seed(2)
    return torch.randint(-800, 800, prediction_shape(options), generator=generator).clamp(-70, 70).int()


def by_loops(
    given: Tensor, now: Pass, options: PixelOptions, weights: Tensor, row: int, column: int
) -> tuple[list[int], int]:
    """Return what the network reads of an image (12, H, W) for a pixel, and the shift of its channel, in integers."""
    channels, half = options.channels, options.window // 2
    xhat_0, noisy, offset, known, *ends = given.view(6, channels, *given.shape[1:]).tolist()
    places = {
        (r, c): (row + r * now.spacing, column + c * now.spacing)
        for r in range(-half, half + 1)
        for c in range(-half, half + 1)
    }
    inside = {key: (r, c) for key, (r, c) in places.items() if 0 <= r < given.shape[1] and 0 <= c < given.shape[2]}
    shifts = []
    for channel in range(channels):
        near = [inside[key] for key in inside if max(map(abs, key)) <= 1]
        values = [offset[channel][r][c] for r, c in near if known[channel][r][c]]
        shifts.append(sum(values) // len(values) if values else 0)
    largest = largest_input(options)

    def of(
        part: list, difference: int = 0, only: list | None = None, times: int = 1, limit: int = largest
    ) -> list[int]:
        values = []
        for key in places:
            value = 0
            if key in inside and (only is None or only[inside[key][0]][inside[key][1]]):
                value = times * (part[inside[key][0]][inside[key][1]] - difference)
            values.append(max(-limit, min(limit, value)))
        return values

    read = list[int]()
    for channel in range(channels):
        read += of(xhat_0[channel], xhat_0[channel][row][column])
    for channel in range(channels):
        read += of(noisy[channel])
    around = list[int]()
    for channel in range(channels):
        differences = dict(zip(places, of(offset[channel], shifts[channel], known[channel]), strict=True))
        is_known = {key: key in inside and known[channel][inside[key][0]][inside[key][1]] for key in places}
        for r, c in places:
            nine = [(r + i, c + j) for i in (-1, 0, 1) for j in (-1, 0, 1) if is_known.get((r + i, c + j))]
            filled = sum(differences[key] for key in nine) // len(nine) if nine else 0
            around.append(differences[r, c] if is_known[r, c] else filled)
    read += around + [max(-480, min(480, 8 * value)) for value in around]
    steps = [value for c in range(channels) for value in of(xhat_0[c], xhat_0[c][row][column])]
    predicted = sum(int(w) * value for w, value in zip(weights[now.number], around + steps, strict=True))
    predicted = (predicted + 2048) // 4096
    for part in (known, *ends):
        for channel in range(channels):
            read += of(part[channel])
    read += [xhat_0[channel][row][column] for channel in range(channels)]
    return [*read, *shifts, *(INPUT * (stage == now.stage) for stage in range(options.stages))], shifts[
        now.channel
    ] + predicted


@pytest.mark.parametrize("extreme", [False, True])
@pytest.mark.parametrize("number", [0, 1, 5, 17, 60, 127])
def test_a_window_holds_what_a_loop_finds(number, extreme):
    known, now = list(walk((2, 9, 11), DILATED.side))[number]
    given = numbers(known, extreme=extreme)
    seen = windows(given.float(), now, DILATED)
    inside = windows(torch.ones(1, 1, 9, 11), now, DILATED)
    weights = weights_of(DILATED)
    read, shift = relative(seen, inside, now, DILATED, INPUT, weights)
    assert read.shape[3] == DILATED.window_inputs
    for image, row, column in np.ndindex(*read.shape[:3]):
        pixel = (now.row + DILATED.side * row, now.column + DILATED.side * column)
        expected, moved = by_loops(given[image], now, DILATED, weights, *pixel)
        assert read[image, row, column].tolist() == expected
        assert int(shift[image, row, column]) == moved


@pytest.mark.parametrize("levels", [2, 17, 256])
def test_no_input_is_above_the_limit_of_exact_sums(levels):
    options = replace(DILATED, levels=levels)
    largest = 0.0
    for known, now in walk((2, 9, 11), options.side):
        given = numbers(known, levels, extreme=True).float()
        inside = windows(torch.ones(1, 1, 9, 11), now, options)
        none = torch.zeros(prediction_shape(options))
        read, shift = relative(windows(given, now, options), inside, now, options, INPUT, none)
        largest = max([largest, *(float(each.abs().max()) for each in (read, shift) if each.numel())])
    assert INPUT <= largest <= largest_input(options)


@pytest.mark.parametrize("side", SIDES)
def test_windows_reach_the_pixels_that_the_stages_before_made_known(side):
    assert PixelOptions(side=side).stages == num_stages(side)
    for now in passes(1, side):
        if now.stage:
            known = [each for each in passes(1, side) if each.stage < now.stage]
            rows = {abs(each.row - now.row) for each in known} | {abs(each.column - now.column) for each in known}
            assert min(rows - {0}) == now.spacing


def trained(kind: type) -> torch.nn.Module:
    """Return a network of random weights in each layer."""
    torch.manual_seed(0)
    made = kind(replace(DILATED, levels=256))
    with torch.no_grad():
        for parameter in made.parameters():
            parameter += 0.02 * torch.randn(parameter.shape)
        made.prediction.copy_(weights_of(made.options))
    return made.requires_grad_(False)


def test_integer_network_is_the_float_network():
    made = trained(PixelNetwork).eval()
    made.round_weights()
    whole, moved = IntegerNetwork.of(made), 0.0
    for known, now in list(walk((2, 9, 11), 8))[::9]:
        given = numbers(known, 256)
        floats, integers = made(given.float(), now), torch.from_numpy(whole(given, now)) / 256
        assert floats.shape == integers.shape
        if floats.numel():
            assert float((floats - integers).abs().max()) < 0.02
            moved = max(moved, float(integers[:, 1].abs().max()))
    assert moved > 5  # the shift to the mean of the neighbours is in it


def test_the_prediction_is_not_rounded_to_bfloat16():
    known, now = list(walk((2, 9, 11), 8))[60]
    given = numbers(known).float()
    seen, inside = windows(given, now, DILATED), windows(torch.ones(1, 1, 9, 11), now, DILATED)
    plain = relative(seen, inside, now, DILATED, INPUT, weights_of(DILATED))
    with torch.autocast("cpu", torch.bfloat16):
        mixed = relative(seen, inside, now, DILATED, INPUT, weights_of(DILATED))
    assert all(each.dtype == torch.float32 for each in mixed)
    assert all(torch.equal(a, b) for a, b in zip(plain, mixed, strict=True))


def test_exact_network_is_the_rounded_network_and_rounds_nothing_of_its_sums():
    made = trained(RoundedPixelNetwork)
    exact = made.exact()
    layers = [replace(each, weight=each.weight.double()) for each in exact.layers]
    with exact_float32():
        for known, now in list(walk((2, 9, 11), 8))[::9]:
            given = numbers(known, 256)
            whole = exact(given, now)
            assert np.array_equal(whole, np.concatenate([exact(each[None], now) for each in given]))
            layer = lambda i, h: layers[i].pixels(h)  # noqa: E731
            found = run_pass(layer, given.double(), now, exact.options, LARGEST_HIDDEN, (INPUT, UNIT), exact.prediction)
            assert np.array_equal(OUTPUT_UNIT * found.long(), whole)
            floats = made(given.float(), now)
            assert not floats.numel() or float((floats - torch.from_numpy(whole) / 256).abs().mean()) < 0.05


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"window": 6}, "must be 5, 7 or 9, got 6"),
        ({"side": 32}, "must be 2, 4, 8 or 16, got 32"),
        ({"window": WINDOWS[-1], "blocks": 0}, "a window of 9 needs residual blocks; set .* to at least 1"),
    ],
)
def test_windows_that_do_not_exist_are_refused(given, message):
    with pytest.raises(ConfigurationError, match=message):
        PixelOptions(**{"blocks": 2, **given})


def test_predictions_that_do_not_fit_are_refused():
    made = trained(RoundedPixelNetwork).exact()
    with pytest.raises(ConfigurationError, match=r"linear prediction have the shape None; give \(128, 196\)"):
        replace(made, prediction=None)
    most = largest_prediction(made.options)
    weights = torch.zeros(prediction_shape(made.options), dtype=torch.int32)
    weights[3, 5] = -most
    assert replace(made, prediction=weights).prediction is weights
    weights[3, 6] = 1
    with pytest.raises(ConfigurationError, match=f"add up to more than {most:,} in a pass"):
        replace(made, prediction=weights)
