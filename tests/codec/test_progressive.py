"""Round trips: every image decodes exactly, and every beginning of a file is a picture."""

import math
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nelbo.codec import Bitstream, RawImage, cut_to_error, report_files, rmse, segments
from nelbo.errors import CodecError, ShapeError


@pytest.fixture(scope="module", params=["float64", "integers"])
def any_run(request):
    """A run of version 1 or 2 of the format."""
    return request.getfixturevalue({"float64": "run", "integers": "integer_run"}[request.param])


@pytest.fixture(scope="module")
def codec(any_run):
    return any_run.codec()


def test_images_round_trip_exactly(codec, digits):
    images = list(digits.images(range(24)))
    files = codec.encode(images, raw=False)
    back = codec.decode([Bitstream.from_bytes(file.to_bytes()) for file in files])
    assert all(torch.equal(found.image, image) for found, image in zip(back, images, strict=True))
    assert {found.status for found in back} == {"lossless"}


def test_files_of_the_diffusion_network_are_shorter_than_raw_ones(run, digits):
    assert all(
        isinstance(file, Bitstream) for file in run.codec().encode(list(digits.images(range(100))), verify=False)
    )


def test_decode_refuses_bytes(codec, digits):
    content = codec.encode(list(digits.images(range(1))), effort=1, raw=False)[0].to_bytes()
    with pytest.raises(CodecError, match=r"was given bytes, expected files; Bitstream\.from_bytes makes one of bytes"):
        codec.decode([content])


def test_files_are_shorter_than_uniform_coding(codec, digits):
    images = list(digits.images(range(100)))
    sizes = [len(file.message) for file in codec.encode(images, raw=False)]
    assert 8 * sum(sizes) / (100 * 64) < math.log2(17)


@pytest.mark.parametrize("effort", [1, 9])
def test_every_effort_round_trips(codec, digits, effort):
    images = list(digits.images(range(2)))
    files = codec.encode(images, effort=effort, raw=False)
    for found, image in zip(codec.decode(files), images, strict=True):
        assert torch.equal(found.image, image)


def extreme(kind: str, height: int, width: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(height * 100 + width)
    image = {
        "zeros": torch.zeros(1, height, width),
        "full": torch.full((1, height, width), 16),
        "noise": torch.randint(0, 17, (1, height, width), generator=generator),
        "odd": torch.zeros(1, height, width).index_fill_(2, torch.tensor([width // 2]), 16),
    }[kind]
    return image.to(torch.uint8)


@settings(max_examples=15)
@given(st.sampled_from(["zeros", "full", "noise", "odd"]), st.integers(1, 24), st.integers(1, 24))
def test_any_image_round_trips_within_32_extra_bytes(codec, kind, height, width):
    image = extreme(kind, height, width)
    file = codec.encode([image])[0]
    content = file.to_bytes()
    assert len(content) <= image.numel() + 32
    found = codec.decode([type(file).from_bytes(content) if isinstance(file, Bitstream) else file])[0]
    assert torch.equal(found.image, image)


@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 3))
def test_raw_images_round_trip(height, width, channels):
    generator = torch.Generator().manual_seed(height)
    image = torch.randint(0, 256, (channels, height, width), generator=generator).to(torch.uint8)
    content = RawImage(image).to_bytes()
    assert len(content) <= image.numel() + 32
    found = Bitstream.from_bytes(content)
    assert isinstance(found, RawImage) and torch.equal(found.pixels, image)


def test_more_bytes_give_a_better_picture(codec, digits):
    images = digits.images(range(40))
    files = codec.encode(list(images), raw=False)
    errors = []
    for share in (0.4, 0.6, 0.7, 0.85, 1.0):  # the header is a third of such a small file
        cut = [file.first(int(len(file.to_bytes()) * share)) for file in files]
        found = codec.decode(cut)
        errors.append(sum(rmse(f.image, image) for f, image in zip(found, images, strict=True)))
        assert {f.status for f in found} == {"lossless" if share == 1 else "truncated"}
    assert errors == sorted(errors, reverse=True) and errors[-1] == 0 and len(set(errors)) == 5


def test_first_returns_the_first_bytes(codec, digits):
    """The beginning keeps the checksum of the whole file."""
    file = codec.encode(list(digits.images(range(1))), raw=False)[0]
    content = file.to_bytes()
    for num in range(file.overhead, len(content) + 1):
        assert file.first(num).to_bytes() == content[:num]
        assert Bitstream.from_bytes(content[:num]).to_bytes() == content[:num]


def test_every_truncation_gives_a_picture_or_error(codec, digits):
    image = digits.images([3])[0]
    content = codec.encode([image], raw=False)[0].to_bytes()
    for length in range(len(content)):
        try:
            file = Bitstream.from_bytes(content[:length])
        except CodecError:
            assert length < 16
            continue
        found = codec.decode([file])[0]
        assert found.status == "truncated" and found.image.shape == image.shape


def test_stream_yields_pictures_as_bytes_arrive(codec, digits):
    image = digits.images([5])[0]
    content = codec.encode([image], raw=False)[0].to_bytes()
    pictures = list(codec.stream(content[i : i + 5] for i in range(0, len(content), 5)))
    used = [picture.bytes_used for picture in pictures]
    assert used == sorted(used)
    assert [p.status for p in pictures] == ["truncated"] * (len(pictures) - 1) + ["lossless"]
    assert torch.equal(pictures[-1].image, image)
    halfway = next(p for p in pictures if p.bytes_used > len(content) / 2)
    at_once = codec.decode([Bitstream.from_bytes(content).first(halfway.bytes_used)])[0]
    assert rmse(at_once.image, image) <= rmse(halfway.image, image)


def test_raw_image_streams_in_pieces(codec):
    image = extreme("noise", 9, 7)
    content = RawImage(image).to_bytes()
    found = list(codec.stream([content[:3], content[3:20], content[20:]]))
    assert len(found) == 1 and torch.equal(found[0].image, image)


def test_segments_cover_the_file(codec, digits):
    image = digits.images([7])[0]
    file = codec.encode([image], raw=False)[0]
    parts = segments(codec, file, image)
    assert parts[0].name == "header" and parts[0].end == file.overhead <= 16
    assert parts[-1].end == len(file.to_bytes()) and parts[-1].rmse == 0
    assert all(a.end == b.start for a, b in pairwise(parts))
    assert sum(part.name.startswith("x_0") for part in parts) == {1: 4, 2: 16}[codec.chain.version]


def test_file_is_cut_by_bytes_or_error(codec, digits):
    image = digits.images([9])[0]
    file = codec.encode([image], raw=False)[0]
    short = Bitstream.from_bytes(file.cut(30).to_bytes())
    assert len(short.to_bytes()) <= 30
    found = codec.decode([short])[0]
    assert found.status == "lossy"
    close = codec.decode([Bitstream.from_bytes(cut_to_error(codec, file, image, 1.0).to_bytes())])[0]
    assert close.status == "lossy" and rmse(close.image, image) <= 1.0
    with pytest.raises(
        CodecError, match=f"max_bytes=3 is less than the {11 if codec.chain.version == 1 else 10} bytes"
    ):
        file.cut(3)


def test_cut_file_is_readable():
    large = Bitstream(bytes(8), 5, (2000, 3000), bytes(4), bytes(range(1, 250)) * 40, 249 * 40)
    with pytest.raises(
        CodecError, match="to 1,400 bytes, but an image of \\(2000, 3000\\) pixels needs at least 1,465"
    ):
        large.cut(1400)
    assert isinstance(Bitstream.from_bytes(large.cut(1500).to_bytes()), Bitstream)
    assert large.cut(20_000) == large  # it fits
    assert [len(large.cut(n).to_bytes()) for n in (1470, 1500, 5000)] == [1470, 1500, 5000]
    lossy = Bitstream(bytes(3), 5, None, None, bytes(range(1, 100)), 99)
    with pytest.raises(CodecError, match="was encoded as lossy cannot be cut"):
        lossy.cut(50)


def test_a_cut_may_leave_only_the_header():
    file = Bitstream(bytes(3), 5, None, bytes(4), bytes(range(1, 100)), 99)
    header = 11  # bytes: magic, version and effort 3, fingerprint 3, length 1, checksum 4
    content = file.cut(header).to_bytes()
    assert len(content) == header
    read = Bitstream.from_bytes(content)
    assert isinstance(read, Bitstream) and read.message == b"" and read.prefix
    with pytest.raises(CodecError, match=f"{header - 1} is less than the {header} bytes"):
        file.cut(header - 1)


def test_lossy_files_are_shorter_and_inexact(codec, digits):
    image = digits.images([11])[0]
    lossy, whole = (codec.encode([image], lossless=way, raw=False)[0] for way in (False, True))
    assert len(lossy.to_bytes()) < len(whole.to_bytes())
    found = codec.decode([Bitstream.from_bytes(lossy.to_bytes())])[0]
    assert found.status == "lossy" and 0 < rmse(found.image, image) < 6


def test_report_adds_up(codec, digits):
    images = digits.images(range(8))
    files = codec.encode(list(images), raw=False)
    report = report_files(codec, files, images, bound=2.0)
    assert report.total == pytest.approx(report.header + report.channel + report.end, abs=1e-9)
    assert report.channel > report.divergence > 0
    assert report.to_json()["over_bound"] == pytest.approx(report.total / 2.0)
    assert report.to_json()["over_strided_bound"] == pytest.approx(report.total / (report.divergence + report.end))


def test_batched_encoding_equals_single_encoding(codec, digits):
    images = list(digits.images(range(3)))
    together = [file.to_bytes() for file in codec.encode(images, raw=False)]
    assert together == [codec.encode([image], raw=False)[0].to_bytes() for image in images]


def test_decoding_ignores_batch_size_and_threads(any_run, digits):
    images = list(digits.images(range(10)))
    files = any_run.codec(4).encode(images, raw=False)
    before = torch.get_num_threads()
    try:
        for batch, threads, mkldnn in ((1, 1, True), (64, 2, True), (7, 2, False)):
            torch.set_num_threads(threads)
            with torch.backends.mkldnn.flags(enabled=mkldnn):
                found = any_run.codec(batch).decode(files)
            assert all(torch.equal(f.image, image) for f, image in zip(found, images, strict=True))
    finally:
        torch.set_num_threads(before)


def test_another_models_file_is_refused(codec, digits):
    file = codec.encode(list(digits.images([0])), raw=False)[0]
    strange = replace(file, fingerprint=bytes(3))
    with pytest.raises(CodecError, match=f"made by the model 000000, and this model is {codec.fingerprint.hex()[:16]}"):
        codec.decode([Bitstream.from_bytes(strange.to_bytes())])


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (torch.zeros(3, 8, 8, dtype=torch.uint8), "the image is in colour"),
        (torch.full((1, 8, 8), 17, dtype=torch.uint8), "a level of 17"),
    ],
)
def test_images_of_other_kinds_are_refused(codec, image, message):
    with pytest.raises(ShapeError, match=message):
        codec.encode([image])


@pytest.mark.parametrize(
    "image",
    [torch.zeros(1, 8, 8), torch.zeros(1, 8, 8).long(), torch.zeros(1, 0, 8, dtype=torch.uint8), None],
)
def test_images_that_are_not_whole_levels_are_refused(codec, image):
    for options in ({}, {"raw": False}, {"lossless": False}):
        with pytest.raises(ShapeError, match=r"must be a uint8 tensor \(C, H, W\) that is not empty, got"):
            codec.encode([image], **options)
    with pytest.raises(ShapeError, match="must be a uint8 tensor"):
        RawImage(image)
    assert codec.encode([]) == []


def test_thin_image_of_many_tiles_is_refused(codec):
    """2^27 pixels of an image of one row are 2^30 pixels of tiles of 8 x 8."""
    message = f"{1 << 27} pixels would take 16,777,216 tiles of 8 x 8"
    thin = Bitstream(codec.fingerprint, 5, (1, 1 << 27), None, bytes(1 << 15), 1 << 15, version=codec.chain.version)
    with pytest.raises(CodecError, match=message):
        codec.receiver(thin)
    with pytest.raises(ShapeError, match=message):
        codec.encode([torch.zeros(1, 1, 1, dtype=torch.uint8).expand(1, 1, 1 << 27)])


def test_stream_reads_no_element_past_a_cut(codec, digits):
    file = codec.encode([digits.images([0])[0]], raw=False)[0]
    for num_bytes in range(file.overhead, len(file.to_bytes()) - 4):
        cut = file.cut(num_bytes)
        assert len(list(codec.stream([cut.to_bytes()]))) == len(segments(codec, cut))


def test_stream_of_a_damaged_beginning_is_an_error(codec, digits):
    raw = RawImage(digits.images([0])[0]).to_bytes()
    whole = codec.encode([digits.images([0])[0]], raw=False)[0].to_bytes()
    for content in (raw[:-1], whole[:5], b""):
        with pytest.raises(CodecError, match="cut short"):
            list(codec.stream([content]))


@pytest.mark.parametrize("largest", [0.0, 0.3, 1.0])
def test_cut_to_error_keeps_the_promised_error(codec, digits, largest):
    """On noisy images, the picture of a beginning is worse than that of the whole file at the same place."""
    generator = torch.Generator().manual_seed(0)
    images = (digits.images(range(8)).int() + torch.randint(0, 2, (8, 1, 8, 8), generator=generator)).clamp(max=16)
    for file, image in zip(codec.encode(list(images.to(torch.uint8)), raw=False), images, strict=True):
        cut = cut_to_error(codec, file, image.to(torch.uint8), largest)
        assert rmse(codec.decode([cut])[0].image, image.to(torch.uint8)) <= largest


def test_decoding_records_no_gradient(run, digits):
    """A caller may decode with a network that is still in training."""
    codec = run.codec()
    file = codec.encode([digits.images([0])[0]], raw=False)[0]
    network = codec.chain.reverse.network.requires_grad_(True)
    try:
        recorded = []
        handle = network.register_forward_hook(lambda module, given, output: recorded.append(output.requires_grad))
        codec.decode([file])
        handle.remove()
    finally:
        network.requires_grad_(False)
    assert recorded and not any(recorded)
