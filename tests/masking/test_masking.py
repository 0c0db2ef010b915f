"""The process that masks pixels: its order, its contexts, its masses, and its files."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from nelbo.codec import Bitstream, masking_chain, segments
from nelbo.diffusion.passes import known_before
from nelbo.errors import CodecError, ConfigurationError, RunError
from nelbo.files import read_tensors, write_tensors
from nelbo.masking import MaskingObjective, context_of, fit_linear, masking_passes
from nelbo.masking.context import LINEAR_BITS, PARTS
from nelbo.masking.filling import interpolated
from nelbo.masking.objective import DRAWN, SHARES, TRAINED, grid_of, interior, passes_of
from nelbo.masking.order import PLACES, REACH, known_pattern, level_of, nearest, place_of, step_of
from nelbo.masking.storage import fingerprint_of, model_from, settings_of, tensors_of
from nelbo.networks.context_network import ContextNetwork
from nelbo.networks.integers import UNIT
from nelbo.probability.integer_gaussian import MASS
from nelbo.runs import MaskingRun, find_codec, find_model, find_run, load
from tests.codec.test_damage import damaged, outcome
from tests.masking.tiny import picture, tiny_model


@pytest.mark.parametrize("shape", [(1, 5, 3), (3, 64, 40), (3, 130, 129), (1, 1, 1)])
def test_every_pixel_becomes_known_once(shape):
    seen = torch.zeros(shape, dtype=torch.int64)
    for now in masking_passes(shape[0]):
        now.of(seen)[:] += 1
    assert (seen == 1).all()


def test_grids_go_from_coarse_to_fine():
    """Before the passes of a level, exactly the pixels of the next coarser grid are known."""
    order, shape = masking_passes(3), (3, 96, 64)
    for level in range(5):
        first = next(i for i, now in enumerate(order) if level_of(now) == level)
        expected = torch.zeros(shape, dtype=torch.bool)
        expected[:, :: 2 << level, :: 2 << level] = True
        assert torch.equal(known_before(order, first, shape), expected)


@pytest.mark.parametrize("number", [3, 48, 70, 130, 200, 227])
def test_pattern_of_known_pixels(number):
    """The pattern that training takes for granted is what a receiver knows within a picture."""
    order, shape = masking_passes(3), (3, 256, 256)
    now = order[number]
    level = level_of(now)
    known = known_before(order, number, shape)[:, :: 1 << level, :: 1 << level]
    size = known.shape[1]
    pattern = known_pattern(place_of(now), now.channel, 3).repeat(1, size // 4, size // 4)
    assert torch.equal(known, pattern)


@pytest.mark.parametrize("place", range(1, 16))
def test_nearest_pixels_are_known(place):
    pattern, (row, column) = known_pattern(place, 0, 1)[0], PLACES[place]
    where = nearest(place).nonzero() - REACH
    known = [bool(pattern[(row + dy) % 4, (column + dx) % 4]) for dy, dx in where.tolist()]
    assert len(known) == 4
    assert all(known)


def test_context_by_hand():
    """A pixel between 10, 20, 30 and 40, with 50 at a distance of 2: the contrast is (4 * 10 * 4 + 25 * 2) / 18."""
    x, known = torch.zeros(1, 1, 12, 12, dtype=torch.int64), torch.zeros(1, 1, 12, 12, dtype=torch.bool)
    row, column = PLACES[4]  # (1, 1), whose nearest pixels are diagonal
    for (dy, dx), value in {(-1, -1): 10, (-1, 1): 20, (1, -1): 30, (1, 1): 40, (1, 2): 50}.items():
        x[0, 0, 4 + row + dy, 4 + column + dx], known[0, 0, 4 + row + dy, 4 + column + dx] = value, True
    context = context_of(x, known, 4, 0).at(torch.arange(9) == 4)  # the square in the middle
    differences = context.differences[0].view(7, 7)
    assert int(context.near[0, 0]) == 100
    assert differences[2, 2] == -60
    assert differences[4, 4] == 60
    assert differences[4, 5] == 100
    assert int((differences != 0).sum()) == 5
    contrast = (4 * (15 + 5 + 5 + 15) + 2 * 25) / (4 * 4 + 2)
    assert int(context.octave[0]) == round(math.log2(contrast + 0.4))
    weights = torch.zeros(49, dtype=torch.int64)
    weights[4 * 7 + 5] = 1 << LINEAR_BITS - 1
    assert int(context.predicted(weights)[0]) == (25 + 12.5) * PARTS


def test_contrast_of_a_plane_does_not_depend_on_its_level():
    known = known_pattern(7, 1, 3).repeat(1, 4, 4)
    x = picture(16, 16).long()[None] // 2
    first, second = (context_of(values, known, 7, 1) for values in (x, x + 100))
    assert torch.equal(first.differences, second.differences)
    assert torch.equal(first.octave, second.octave)


@pytest.mark.parametrize("number", [0, 20, 100, 199, 227])
def test_pass_reads_known_pixels_only(number):
    model, order, x = tiny_model(), masking_passes(3), picture(100, 101).long()
    known = known_before(order, number, tuple(x.shape))
    generator = torch.Generator().manual_seed(1)
    other = torch.where(known, x, torch.randint(256, x.shape, generator=generator))
    first, second = (model.mixture(values, known, order[number]) for values in (x, other))
    assert np.array_equal(first.tables(fine=True), second.tables(fine=True))
    blank = model.mixture(torch.zeros_like(x), known, order[number])
    assert number == 0 or not np.array_equal(first.tables(fine=True), blank.tables(fine=True))


def test_masses_of_the_levels_sum_to_one():
    model, order, x = tiny_model(), masking_passes(3), picture(33, 20).long()
    for number in (0, 50, 220):
        tables = model.mixture(x, known_before(order, number, tuple(x.shape)), order[number]).tables(fine=True)
        assert (tables[:, 0] == 0).all()
        assert (tables[:, -1] == MASS).all()
        assert (np.diff(tables, axis=1) > 0).all()


@pytest.mark.parametrize("level", range(TRAINED))
def test_training_counts_the_bits_that_are_sent(level):
    """The loss of a pass equals the masses of the integers, up to their rounding."""
    model, order, x = tiny_model(), masking_passes(3), picture(128, 128).long()
    objective = MaskingObjective(model.linear)
    number = next(i for i, now in enumerate(order) if level_of(now) == level and place_of(now) == 9) + 1
    now = order[number]
    grid = x[None, :, :: 1 << level, :: 1 << level]
    context, levels = interior(grid, place_of(now), now.channel)

    def network(numbers: torch.Tensor, step: int) -> torch.Tensor:
        return model.network(numbers, step) / UNIT

    trained = -objective._log2_masses(network, context, levels, level, place_of(now), 3)
    mixture = model.mixture(x, known_before(order, number, tuple(x.shape)), now)
    _, own = mixture.interval(now.of(x).flatten().numpy())
    inside = torch.zeros(grid.shape[2] // 4, grid.shape[3] // 4, dtype=torch.bool)
    inside[1:-1, 1:-1] = True
    sent = torch.from_numpy(-np.log2(own / MASS))[inside.flatten()]
    assert float((sent - trained).abs().mean()) < 0.05
    assert float((sent - trained).mean().abs()) < 0.02


def test_levels_are_weighted_by_their_pixels():
    """The pixels of each level that a crop trains, and the mean of the weights is 1."""
    assert sum(SHARES) == 1
    assert sum(DRAWN) == pytest.approx(1)
    objective, crops = MaskingObjective(tiny_model().linear), picture(128, 128)[None].expand(4, -1, -1, -1)
    network = ContextNetwork(tiny_model().network.options)
    generator, weights = torch.Generator().manual_seed(0), []
    for _ in range(300):
        level = int(objective.draw(4, (3, 128, 128), generator)["level"][0])
        weights.append(SHARES[level] / DRAWN[level])
    assert np.mean(weights) == pytest.approx(1, abs=0.1)
    draws = objective.draw(4, (3, 128, 128), generator)
    losses = objective(network, crops, None, draws)
    assert losses.loss.shape == (4,)
    assert torch.isfinite(losses.weighted).all()
    assert losses.weighted.requires_grad


@pytest.mark.parametrize(("level", "num"), [(0, 80), (1, 64), (2, 32), (3, 16)])
def test_grids_of_crops(level, num):
    crops = torch.arange(128 * 128).view(1, 1, 128, 128)
    for place in (0.0, 0.5, 0.999):
        grid = grid_of(crops, level, place, place)
        assert grid.shape == (1, 1, num, num)
        assert int(grid[0, 0, 0, 1] - grid[0, 0, 0, 0]) == 1 << level
    assert {place for place, _ in passes_of(level, 3)} == set(range(0 if level == 3 else 4, 16))


def test_least_squares_find_a_linear_picture():
    """Each pixel of a plane is the mean of its neighbours, in all directions, so the prediction is exact."""
    slope = torch.arange(128)[:, None] + torch.arange(128)
    generator = torch.Generator().manual_seed(0)
    crops = torch.stack([slope * a // 4 for a in torch.randint(1, 4, (4,), generator=generator)])[:, None]
    linear = fit_linear(lambda level, i: crops, 1, rounds=2)
    grid = 2 * slope.view(1, 1, 128, 128)[..., :64, :64]
    context, x = interior(grid, 9, 0)
    error = context.predicted(linear[step_of(0, 9, 0, 1)]) / PARTS - x
    assert float(error.abs().max()) < 0.5


def test_unknown_pixels_of_a_plane_are_interpolated():
    """The means of opposite pixels give back a plane, except near the edges of the picture."""
    order, x = masking_passes(1), (torch.arange(96)[:, None] + 2 * torch.arange(64)).view(1, 1, 96, 64) // 2 * 2
    number = next(i for i, now in enumerate(order) if level_of(now) == 1)
    known = known_before(order, number, (1, 96, 64))[None]
    filled = interpolated(torch.where(known, x, 0), known, torch.ones_like(known), order[number:])
    assert torch.equal(filled[known], x[known].double())
    assert float((filled - x)[..., 4:-4, 4:-4].abs().max()) <= 1
    blank = interpolated(torch.zeros_like(x), torch.zeros_like(known), torch.ones_like(known), order)
    assert (blank == 128).all()


def run_in(folder, channels: int = 3) -> MaskingRun:
    folder.mkdir(parents=True, exist_ok=True)
    run = MaskingRun(folder, tiny_model(channels))
    run.save()
    return run


@pytest.mark.parametrize("size", [(1, 1), (3, 2), (12, 12), (5, 70), (64, 64), (3, 1500)])
def test_picture_comes_back(tmp_path, size):
    codec, image = run_in(tmp_path).codec(), picture(*size)
    [file] = codec.encode([image], raw=False)
    assert isinstance(file, Bitstream)
    back = codec.decode_bytes(file.to_bytes())
    assert back.status == "lossless"
    assert torch.equal(back.image, image)


def test_tiles_of_oblong_pictures_have_a_limited_number(tmp_path):
    codec = run_in(tmp_path).codec()
    assert codec.tiling(333, 500).num_tiles == 1
    assert codec.tiling(600, 300).num_tiles == 1
    assert codec.tiling(1024, 1024).num_tiles == 4
    for height, width in ((1, 1 << 26), (1 << 26, 1)):
        assert codec.tiling(height, width).num_tiles == 256


def test_picture_of_several_tiles_comes_back(tmp_path, monkeypatch):
    monkeypatch.setattr(masking_chain, "TILE", 24)
    codec, image = run_in(tmp_path).codec(), picture(40, 61)
    [file] = codec.encode([image], raw=False)
    assert codec.tiling(40, 61).num_tiles == 6
    assert torch.equal(codec.decode([file])[0].image, image)
    seen = codec.decode_bytes(file.to_bytes(), len(file.to_bytes()) // 2).image
    assert float((seen.double() - image).square().mean().sqrt()) < 25


def test_too_many_values_are_refused_before_memory_is_taken(tmp_path):
    codec = run_in(tmp_path).codec()
    [file] = codec.encode([picture(9, 9)], raw=False)
    huge = replace(file, size=(1 << 14, 1 << 14), message=bytes(1 << 16), length=1 << 16)
    with pytest.raises(CodecError, match="values of pixels"):
        codec.decode([huge], verify=False)


def test_several_pictures_share_a_call(tmp_path):
    codec, images = run_in(tmp_path).codec(), [picture(40, 30), picture(9, 61, seed=1)]
    together = codec.encode(images, raw=False)
    alone = [codec.encode([image], raw=False)[0] for image in images]
    assert [file.to_bytes() for file in together] == [file.to_bytes() for file in alone]
    assert all(torch.equal(a.image, b) for a, b in zip(codec.decode(together), images, strict=True))


def test_beginning_of_a_file_is_a_picture(tmp_path):
    codec, image = run_in(tmp_path).codec(), picture(96, 64)
    [file] = codec.encode([image], raw=False)
    whole = len(file.to_bytes())
    errors = []
    for share in (0.05, 0.3, 0.7):
        seen = codec.decode_bytes(file.to_bytes(), int(share * whole))
        assert seen.status == "truncated"
        errors.append(float((seen.image.double() - image).square().mean().sqrt()))
    assert errors == sorted(errors, reverse=True)
    parts = segments(codec, file, image)
    assert len(parts) == 1 + len(masking_passes(3))
    assert parts[-1].rmse == 0


def test_lossy_file_needs_a_limit(tmp_path):
    codec = run_in(tmp_path).codec()
    with pytest.raises(ConfigurationError, match="sends pixels only"):
        codec.encode([picture(8, 8)], lossless=False)


def test_model_is_stored_and_found(tmp_path, monkeypatch):
    run = run_in(tmp_path / "runs" / "own")
    monkeypatch.chdir(tmp_path)
    again = MaskingRun.load(find_codec("runs/own"))
    assert again.fingerprint == run.fingerprint
    assert find_model(run.fingerprint[:8]).resolve() == run.folder.resolve()
    for refusing in (find_run, load):
        with pytest.raises(ConfigurationError, match="only codes pictures"):
            refusing("runs/own")


@pytest.mark.parametrize("name", ["linear", "network.0.weight", "network.1.bias"])
def test_damaged_model_is_refused(tmp_path, name):
    model = tiny_model()
    tensors = tensors_of(model)
    tensors[name] = tensors[name].clone().flatten()[:-1]
    with pytest.raises(RunError, match=r"photographs|linear"):
        model_from(settings_of(model), tensors)
    del tensors[name]
    with pytest.raises(RunError, match="damaged"):
        model_from(settings_of(model), tensors)
    assert fingerprint_of(model_from(settings_of(model), tensors_of(model))) == fingerprint_of(model)


def test_damaged_files_give_no_wrong_pixels(tmp_path):
    codec, image, generator = run_in(tmp_path).codec(), picture(14, 11), np.random.default_rng(0)
    content = codec.encode([image], raw=False)[0].to_bytes()
    seen = [outcome(codec, damaged(content, generator), image) for _ in range(30)]
    assert set(seen) <= {"refused", "exact", "truncated"} and seen.count("refused") > 15


def test_chain_without_steps_says_so(tmp_path):
    chain = run_in(tmp_path).codec().chain
    with pytest.raises(CodecError, match="sends no x_t"):
        chain.name(0)
    with pytest.raises(CodecError, match="sends no x_t"):
        _ = chain.plan


def test_damaged_model_file_names_what_is_wrong(tmp_path):
    run_in(tmp_path)
    tensors, metadata = read_tensors(tmp_path / "masking.safetensors")
    write_tensors(tmp_path / "masking.safetensors", tensors, {**metadata, "settings": {}})
    with pytest.raises(RunError, match=r"masking\.safetensors: .*channels"):
        MaskingRun.load(tmp_path)


def test_file_of_another_model_is_refused(tmp_path):
    [file] = run_in(tmp_path / "a").codec().encode([picture(9, 9)], raw=False)
    run = MaskingRun(tmp_path / "b", tiny_model(seed=1))
    with pytest.raises(CodecError, match="made by the model"):
        run.codec().decode([file])
