"""The states of a receiver, the parts of a file, and the tiles of an image."""

import math
from dataclasses import replace

import pytest
import torch

from nelbo.codec import Bitstream, RawImage, SegmentKind, cut_to_error, report_files, rmse, segments
from nelbo.codec.receiver import predict, receive
from nelbo.codec.states import Finished, NeedsGrid, NeedsPass, NeedsPrediction, NeedsStep
from nelbo.codec.tiling import Tiling
from nelbo.diffusion.passes import passes


def states_of(codec, file):
    """Return the kinds of state that a receiver passes through, without repetitions."""
    receiver = codec.receiver(file)
    kinds = [type(receiver.state)]
    while not receiver.done:
        if receiver.needs_prediction:
            predict(codec.chain, [receiver])
        elif not receiver.read():
            break
        kinds.append(type(receiver.state))
    return kinds


def test_lossless_file_passes_through_every_state(codec, digits):
    file = codec.encode([digits.images([0])[0]], verify=False)[0]
    steps = [NeedsPrediction, NeedsStep] * codec.chain.num_steps
    assert states_of(codec, file) == [*steps, NeedsPrediction, NeedsGrid, *[NeedsPass] * 4, Finished]


def test_lossy_file_ends_after_the_steps(codec, digits):
    file = codec.encode([digits.images([0])[0]], lossless=False)[0]
    steps = [NeedsPrediction, NeedsStep] * codec.chain.num_steps
    assert states_of(codec, file) == [*steps, NeedsPrediction, Finished]


def test_receiver_waits_while_bytes_are_missing(codec, digits):
    file = codec.encode([digits.images([0])[0]], verify=False)[0]
    receiver = codec.receiver(file.first(file.overhead))
    predict(codec.chain, [receiver])
    before = receiver.state
    assert not receiver.read() and receiver.state is before and receiver.position == 0
    receiver.feed(file.message, complete=True)
    assert receiver.read() and receiver.position > 0


def test_pass_is_read_as_far_as_its_bytes_go(codec, digits):
    image = digits.images([0])[0]
    file = codec.encode([image], verify=False)[0]
    receiver = codec.receiver(file.first(len(file.to_bytes()) - 2))
    while receiver.needs_prediction or receiver.read():
        if receiver.needs_prediction:
            predict(codec.chain, [receiver])
    state = receiver.state
    assert isinstance(state, NeedsPass) and state.number == 3 and 0 < len(state.begun) < 16
    now = passes(1)[state.number]
    assert list(state.begun) == now.of(image).flatten()[: len(state.begun)].tolist()
    assert not receiver.read() and receiver.state.begun == state.begun
    receiver.feed(file.message[-2:], complete=True)
    assert receiver.read() and receiver.done and torch.equal(receiver.picture(), image)


def test_picture_shows_the_pixels_of_a_truncated_pass(codec):
    """On noise, the means of unknown pixels are not the pixels."""
    image = torch.randint(0, 17, (1, 8, 8), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    file = codec.encode([image], raw=False)[0]
    for cut in range(1, 20):
        receiver = codec.receiver(file.first(len(file.to_bytes()) - cut))
        receive(codec.chain, [receiver])
        state = receiver.state
        assert isinstance(state, NeedsPass)
        now = passes(1)[state.number]
        shown, true = (now.of(x).flatten() for x in (receiver.picture(), image))
        assert shown[: len(state.begun)].tolist() == true[: len(state.begun)].tolist() == list(state.begun)
        assert shown.tolist() != true.tolist()
        for earlier in passes(1)[: state.number]:
            assert torch.equal(earlier.of(receiver.picture()), earlier.of(image))


def test_cut_to_error_takes_the_first_picture_within_it(codec, digits):
    image = digits.images([0])[0]
    file = codec.encode([image], verify=False)[0]
    errors = [rmse(picture.image, image) for picture in codec.stream([file.to_bytes()])]
    best = [error for i, error in enumerate(errors[:-1]) if 0 < error < min(errors[:i], default=math.inf)]
    beginning = replace(file, pixel_hash=None, prefix=True, check=None)
    pictures = list(codec.stream([beginning.to_bytes()]))
    cuts = [file.cut(picture.bytes_used) for picture in pictures]
    errors = [
        max(rmse(each.image, image) for each in (p, *codec.decode([c]))) for p, c in zip(pictures, cuts, strict=True)
    ]
    reached = [(len(cut.to_bytes()), error) for cut, error in zip(cuts, errors, strict=True)]
    sizes = []
    for largest in best:
        cut = cut_to_error(codec, file, image, largest)
        assert rmse(codec.decode([cut])[0].image, image) <= largest
        sizes.append(len(cut.to_bytes()))
        assert sizes[-1] == next(size for size, error in reached if error <= largest)
    assert sizes == sorted(sizes) and sizes[0] < sizes[-1] < len(file.to_bytes())


@pytest.mark.parametrize(("excess", "kind"), [(-1, RawImage), (0, Bitstream), (1, Bitstream)])
def test_raw_image_replaces_only_a_longer_file(codec, digits, monkeypatch, excess, kind):
    image = digits.images([0])[0]
    length = len(codec.encode([image], raw=False)[0].to_bytes())
    monkeypatch.setattr(RawImage, "to_bytes", lambda self: bytes(length + excess))
    assert isinstance(codec.encode([image])[0], kind)


def test_raw_image_replaces_a_file_that_decodes_differently(codec, digits, monkeypatch):
    image = digits.images([0])[0]
    decode = type(codec).decode

    def broken(self, files, **options):
        return [replace(found, image=found.image ^ 1) for found in decode(self, files, **options)]

    monkeypatch.setattr(type(codec), "decode", broken)
    assert isinstance(codec.encode([image])[0], RawImage)
    assert isinstance(codec.encode([image], verify=False)[0], Bitstream)


def test_receivers_at_one_t_share_a_prediction(codec, digits):
    files = codec.encode(list(digits.images(range(3))), verify=False)
    together, alone = ([codec.receiver(file) for file in files] for _ in range(2))
    predict(codec.chain, together)
    for receiver in alone:
        predict(codec.chain, [receiver])
    for a, b in zip(together, alone, strict=True):
        assert torch.allclose(a.state.prediction.x_0, b.state.prediction.x_0, atol=1e-12)


def test_raw_and_model_files_decode_in_order(codec, digits):
    images = list(digits.images(range(3)))
    first, last = codec.encode([images[0], images[2]], verify=False)
    found = codec.decode([first, RawImage(images[1]), last])
    assert all(torch.equal(each.image, image) for each, image in zip(found, images, strict=True))
    assert [each.status for each in found] == ["lossless"] * 3


def test_segment_kinds_follow_the_grammar(codec, digits):
    file = codec.encode([digits.images([0])[0]], verify=False)[0]
    parts, num_steps = segments(codec, file), codec.chain.num_steps
    kinds = [SegmentKind.HEADER, *[SegmentKind.STEP] * num_steps, SegmentKind.GRID, *[SegmentKind.PASS] * 4]
    assert [part.kind for part in parts] == kinds
    names = [f"x_{int(t)}" for t in reversed(codec.chain.plan.steps[:-1])]
    assert [part.name for part in parts] == ["header", *names, "grid", *(f"x_0, pass {i}" for i in range(1, 5))]
    assert all((part.chunks > 0) == (part.kind == SegmentKind.STEP) for part in parts)
    assert all((part.expected_bits is not None) == (part.kind == SegmentKind.STEP) for part in parts)


def test_segment_json_has_fixed_keys(codec, digits):
    file = codec.encode([digits.images([0])[0]], verify=False)[0]
    keys = ["name", "start", "end", "expected_bits", "chunks", "rmse"]
    assert all(list(part.to_json()) == keys for part in segments(codec, file))


def test_segments_of_a_truncated_file_end_with_its_last_element(codec, digits):
    file = codec.encode([digits.images([0])[0]], verify=False)[0]
    whole = segments(codec, file)
    for num_bytes in range(file.overhead, len(file.to_bytes())):
        parts = segments(codec, file.first(num_bytes))
        assert len(parts) < len(whole) and parts[-1].end <= num_bytes
        assert len(parts) >= sum(part.end <= num_bytes for part in whole)
        assert [part.name for part in parts] == [part.name for part in whole][: len(parts)]


def test_report_splits_only_the_files_of_the_model(codec, digits):
    images = digits.images(range(3))
    files = codec.encode(list(images), raw=False)
    with_raw = report_files(codec, [*files[:2], RawImage(images[2])], images, bound=2.0)
    without = report_files(codec, files[:2], images[:2], bound=2.0)
    assert (with_raw.num_images, with_raw.num_raw) == (3, 1) and (without.num_images, without.num_raw) == (2, 0)
    for part in ("header", "channel", "end", "chunks"):
        assert getattr(with_raw, part) == pytest.approx(getattr(without, part), rel=1e-12)
    single = report_files(codec, files[:1], images[:1], bound=2.0)
    assert single.header + single.channel + single.end == pytest.approx(single.total, rel=1e-12)
    only_raw = report_files(codec, [RawImage(image) for image in images], images, bound=2.0)
    assert only_raw.header == only_raw.chunks == 0 and only_raw.num_raw == 3
    assert single.chunks == sum(part.chunks for part in segments(codec, files[0]))


def test_progress_counts_every_prediction(codec, digits):
    seen, steps = [], codec.chain.num_steps + 1 + len(codec.chain.passes)
    receiver = codec.receiver(codec.encode([digits.images([0])[0]], raw=False)[0])
    receive(codec.chain, [receiver], progress=lambda done, total: seen.append((done, total)))
    assert seen == [(done, steps) for done in range(1, steps + 1)]


def test_parts_are_named_by_their_kind(codec, digits):
    parts = segments(codec, codec.encode([digits.images([0])[0]], raw=False)[0])
    assert [part.kind for part in parts] == ["header", *["step"] * codec.chain.num_steps, "grid", *["pass"] * 4]


@pytest.mark.parametrize(
    ("height", "width", "rows", "columns"), [(8, 8, 1, 1), (9, 8, 2, 1), (1, 16, 1, 2), (7, 17, 1, 3)]
)
def test_tiles_join_to_the_image(height, width, rows, columns):
    tiling = Tiling(height, width, (2, 8, 8))
    assert (tiling.rows, tiling.columns, tiling.num_tiles) == (rows, columns, rows * columns)
    image = torch.arange(2 * height * width).view(2, height, width)
    tiles = tiling.split(image)
    assert torch.equal(tiling.join(tiles), image)
    real = tiling.real()
    assert real.shape == tiles.shape and int(real.sum()) == image.numel()
    assert torch.equal(tiles[real].sort().values, image.flatten())
    padded = torch.full((2, rows * 8, columns * 8), -1)
    padded[:, :height, :width] = image
    padded[:, height:, :width] = image[:, -1:]
    padded[:, :, width:] = padded[:, :, width - 1 : width]
    assert torch.equal(Tiling(rows * 8, columns * 8, (2, 8, 8)).join(tiles), padded)
