"""Blocks of an archive: exact images, in the size of the chain's bound, and no wrong pixel from a damaged block."""

import numpy as np
import pytest
import torch

from nelbo.codec import ArchiveCodec
from nelbo.codec.ans import Stack
from nelbo.codec.archive_codec import HASH_BYTES
from nelbo.codec.bits_back import pop_images, push_images
from nelbo.errors import CodecError, ShapeError
from nelbo.lattice import centred
from nelbo.networks.integers import exact_float32
from nelbo.probability.integer_gaussian import MASS
from tests.lattice.tiny import digits, tiny_model

FINGERPRINT = bytes(range(8))


def start(num: int = 3000) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 2**32, num, dtype=np.uint32)


def everything(x: torch.Tensor) -> torch.Tensor:
    return torch.ones(x.shape, dtype=torch.bool)


def information(stack: Stack) -> float:
    """Return the bits on a stack: those of its words, and those of the numbers of its lanes."""
    return 32 * stack._size + float(np.log2(stack._heads.astype(np.float64)).sum())


def sizes_of(images):
    return [tuple(image.shape[1:]) for image in images]


@torch.no_grad()
@exact_float32()
def pushed_exactly(codec: ArchiveCodec, images: list[torch.Tensor]) -> bytes:
    return pushed(codec, images, 16)


def pushed(codec: ArchiveCodec, images: list[torch.Tensor], num_raw: int = 4) -> bytes:
    """Encode a block with a stack, also if the images without the model would be shorter."""
    from nelbo.codec.raw_image import RawImage

    raw = [RawImage(image).to_bytes() for image in images[:num_raw]]
    return codec._head(images, raw, 0) + codec._pushed(raw, 0, images[num_raw:], None)


def test_images_come_back_and_so_do_the_bits():
    model, x = tiny_model(), digits(20).long()
    stack = Stack(start())
    before = stack.to_bytes()
    push_images(stack, model, x[:12], everything(x[:12]))
    push_images(stack, model, x[12:], everything(x[12:]))
    stack = Stack.from_bytes(stack.to_bytes())
    assert torch.equal(pop_images(stack, model, everything(x[12:])), x[12:])
    assert torch.equal(pop_images(stack, model, everything(x[:12])), x[:12])
    assert stack.to_bytes() == before


def test_stack_grows_by_the_bound_of_its_draws():
    """-log2 p(x, y) + log2 q(y|x), summed by hand with the y that popping drew, is the growth of the stack."""
    model, x = tiny_model(), digits(64).long()
    chain, x_0 = model.chain, centred(x, 17)
    stack = Stack(start(40_000))
    y = torch.from_numpy(stack.pop(chain.first(x_0))).view(x.shape)
    bits = np.log2(chain.first(x_0).interval(y.reshape(-1).numpy())[1] / MASS).sum()
    for mixture, chosen in model.passes(y, x, everything(x)):
        bits -= np.log2(mixture.interval(x[chosen].numpy())[1] / MASS).sum()
    for mixture, chosen in reversed(list(model.passes(y, x, everything(x)))):
        stack.push(mixture, x[chosen].numpy())
    for t in range(2, chain.steps + 1):
        further = torch.from_numpy(stack.pop(chain.next(y, t))).view(x.shape)
        bits += np.log2(chain.next(y, t).interval(further.reshape(-1).numpy())[1] / MASS).sum()
        p = chain.previous(further, t, chain.estimate(further, t))
        bits -= np.log2(p.interval(y.reshape(-1).numpy())[1] / MASS).sum()
        stack.push(p, y.reshape(-1).numpy())
        y = further
    bits -= np.log2(chain.prior(len(x)).interval(y.reshape(-1).numpy())[1] / MASS).sum()
    stack.push(chain.prior(len(x)), y.reshape(-1).numpy())
    assert information(stack) - information(Stack(start(40_000))) == pytest.approx(bits, rel=2e-4)
    whole = Stack(start(40_000))
    push_images(whole, model, x, everything(x))
    assert whole.to_bytes() == stack.to_bytes()


@pytest.mark.parametrize("num", [0, 1, 5, 30])
def test_blocks_come_back(num):
    codec = ArchiveCodec(tiny_model(), FINGERPRINT)
    images = [digits(num)[i] for i in range(num)]
    block = codec.encode(images)
    back = codec.decode(block, sizes_of(images))
    assert len(back) == num and all(torch.equal(a, b) for a, b in zip(back, images, strict=True))


def test_images_of_any_size_come_back_through_the_stack():
    codec, source = ArchiveCodec(tiny_model(), FINGERPRINT), digits(40)
    wide = torch.cat(list(source[20:24]), 2)
    images = [*source[:16], wide[:, :5, :19], source[16][:, :1, :1], wide, source[17][:, :8, :3]]
    back = codec.decode(pushed(codec, images, 16), sizes_of(images))
    assert all(torch.equal(a, b) for a, b in zip(back, images, strict=True))


def test_block_is_never_longer_than_its_images_without_the_model():
    from nelbo.codec import RawImage

    codec = ArchiveCodec(tiny_model(), FINGERPRINT)
    noise = torch.randint(0, 17, (40, 1, 8, 8), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    for images in (list(noise), list(digits(40)), list(torch.zeros_like(noise)), list(noise[:1])):
        raw = sum(len(RawImage(image).to_bytes()) for image in images)
        assert len(codec.encode(images)) <= raw + HASH_BYTES + 3 + 2 * len(images)


def test_images_that_are_shorter_without_the_model_are_stored_so():
    codec, images = ArchiveCodec(tiny_model(), FINGERPRINT), list(torch.zeros(60, 1, 8, 8, dtype=torch.uint8))
    block = codec.encode(images)
    assert len(block) < 60 * 30
    back = codec.decode(block, sizes_of(images))
    assert all(torch.equal(a, b) for a, b in zip(back, images, strict=True))


@pytest.mark.parametrize("num", [1, 2, 3])
def test_few_large_images_use_the_model(num):
    """A stack may begin with pseudo-random words, where there are no small images."""
    codec, source = ArchiveCodec(tiny_model(), FINGERPRINT), digits(144)
    rows = [torch.cat(list(source[i : i + 12]), 2) for i in range(0, 144, 12)]
    images = [torch.cat(rows, 1)] * num
    block = codec._with_model(images, None)
    assert block[HASH_BYTES] == 0  # images without the model
    back = codec.decode(block, sizes_of(images))
    assert all(torch.equal(a, b) for a, b in zip(back, images, strict=True))


def test_progress_counts_tiles():
    codec, seen = ArchiveCodec(tiny_model(), FINGERPRINT), []
    images = list(digits(40))
    block = codec.encode(images, lambda done, total: seen.append((done, total)))
    assert seen and seen[-1][0] == seen[-1][1]
    assert len(codec.decode(block, sizes_of(images))) == 40


def test_every_damage_of_the_block_is_an_error():
    """Every byte changed in a random bit, and every cut: no picture, no crash; the hash covers all pixels."""
    codec = ArchiveCodec(tiny_model(), FINGERPRINT)
    images = list(digits(24))
    block, generator = pushed(codec, images, 16), np.random.default_rng(0)
    places = generator.choice(len(block), 150, replace=False)
    for place in places:
        damaged = bytearray(block)
        damaged[place] ^= 1 << int(generator.integers(8))
        with pytest.raises(CodecError):
            codec.decode(bytes(damaged), sizes_of(images))
    for cut in generator.choice(len(block), 50, replace=False):
        with pytest.raises(CodecError):
            codec.decode(block[:cut], sizes_of(images))


def test_sizes_of_a_bomb_are_refused_before_memory_is_allocated():
    """Few bytes cannot hold an image of 2^28 pixels, nor many images that fill a tile each."""
    codec = ArchiveCodec(tiny_model(), FINGERPRINT)
    block = codec.encode(list(digits(3)))
    for sizes in ([(1 << 14, 1 << 14)] * 3, [(1, 1 << 26)] * 3, [(1, 1)] * 100_000):
        with pytest.raises(CodecError, match="too few for"):
            codec.decode(block, sizes)


def test_raw_image_of_another_size_is_refused_before_it_is_unpacked(monkeypatch):
    from nelbo.codec import RawImage

    codec, image = ArchiveCodec(tiny_model(), FINGERPRINT), torch.zeros(1, 2000, 2000, dtype=torch.uint8)
    raw = [RawImage(image).to_bytes()]
    block = codec._head([image], raw, 0) + raw[0]
    assert torch.equal(codec.decode(block, [(2000, 2000)])[0], image)
    monkeypatch.setattr(RawImage, "read", lambda reader: pytest.fail("unpacked"))
    with pytest.raises(CodecError, match="other sizes"):
        codec.decode(block, [(8, 8)])


def test_other_images_are_refused():
    codec = ArchiveCodec(tiny_model(), FINGERPRINT)
    with pytest.raises(ShapeError, match="3 channels"):
        codec.encode([torch.zeros(3, 8, 8, dtype=torch.uint8)])
    with pytest.raises(ShapeError, match=r"a level of 17, and the model's levels are 0\.\.16"):
        codec.encode([torch.full((1, 8, 8), 17, dtype=torch.uint8)])
    with pytest.raises(ShapeError):
        codec.encode([torch.zeros(1, 8, 8)])


def test_sizes_that_do_not_fit_are_an_error():
    codec, images = ArchiveCodec(tiny_model(), FINGERPRINT), list(digits(3))
    with pytest.raises(CodecError):
        codec.decode(codec.encode(images), [(8, 8), (8, 8), (8, 7)])
    with pytest.raises(CodecError):
        codec.decode(codec.encode(images), [(8, 8)])


def test_settings_of_the_caller_change_nothing():
    """Neither lower precision of products nor autocast reaches the integers."""
    codec, images = ArchiveCodec(tiny_model(), FINGERPRINT), list(digits(24))
    block, before = codec.encode(images), torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    try:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert codec.encode(images) == block
            back = codec.decode(pushed_exactly(codec, images), sizes_of(images))
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision(before)
    assert all(torch.equal(a, b) for a, b in zip(back, images, strict=True))


def test_machine_with_inexact_sums_is_refused(monkeypatch):
    exact = torch.nn.functional.conv2d

    def rounded(x, weight, **rest):
        return exact(x.bfloat16().float() if x.dtype == torch.float32 else x, weight, **rest)

    monkeypatch.setattr(torch.nn.functional, "conv2d", rounded)
    with pytest.raises(CodecError, match="does not compute sums of integers exactly"):
        ArchiveCodec(tiny_model(), FINGERPRINT)


@pytest.mark.parametrize("threads", [1, 2])
def test_threads_change_nothing(threads):
    codec, images = ArchiveCodec(tiny_model(), FINGERPRINT), list(digits(24))
    expected = pushed(codec, images, 16)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        assert pushed(codec, images, 16) == expected
        with torch.backends.mkldnn.flags(enabled=False):
            assert pushed(codec, images, 16) == expected
    finally:
        torch.set_num_threads(before)
