"""The chain of version 2: its steps have the masses of the integer chain, and its files are exact."""

import math

import numpy as np
import pytest
import torch

from nelbo.codec import Bitstream, CodecReport, report_files
from nelbo.codec.candidates import normal_quantiles
from nelbo.codec.channel_fitting import fit_channel
from nelbo.codec.lattice_chain import LatticeChain
from nelbo.diffusion.passes import walk
from nelbo.errors import CodecError
from nelbo.lattice import centred, simulate
from nelbo.probability.integer_gaussian import LEAST, MASS, MOST, IntegerGaussian
from tests.lattice.tiny import digits, tiny_integer_model


@pytest.mark.parametrize(("mean", "scale"), [(0, 0), (-700, 4), (2000, 20), (77, 40)])
def test_candidates_have_the_masses_of_the_integers(mean, scale):
    """The integers at all quantiles of N(0, 1) occur as often as their masses say, up to the table of quantiles."""
    z = normal_quantiles().astype(np.int64)
    found = IntegerGaussian(np.full(len(z), mean), np.full(len(z), scale), False).at(z)
    every = np.arange(LEAST, MOST + 1)
    _, mass = IntegerGaussian(np.full(256, mean), np.full(256, scale), False).interval(every)
    np.testing.assert_allclose(np.bincount(found - LEAST, minlength=256) / len(z), mass / MASS, rtol=0, atol=1.5e-3)


def test_kl_of_the_channel_is_that_of_the_integers(integer_run):
    """The sum of the steps' KL is E[log q(y_1..y_k | x_0) / p(y_1..y_k)] of the masses in bits back."""
    model, levels = integer_run.model, digits(100, first=1000)
    chain, generator = LatticeChain(model, integer_run.plan, 8), torch.Generator().manual_seed(0)
    kl = 0.0
    for t in range(2, chain.num_steps + 2):
        y = chain.draw(levels, t, generator)
        kl += float(chain.target(chain.predictions(y, t), y, t, levels).kl().sum()) / math.log(2)
    x_0 = centred(levels, chain.levels)
    noise = [torch.randn(x_0.shape, generator=generator) for _ in range(chain.num_steps)]
    drawn = simulate(x_0, model.chain.linear.spacing, noise)

    def bits(distribution, values):
        return -np.log2(distribution.interval(values.reshape(-1).numpy())[1] / MASS).sum()

    exact = bits(model.chain.prior(len(levels)), drawn[-1]) - bits(model.chain.first(x_0), drawn[0])
    for t in range(2, chain.num_steps + 1):
        exact += bits(model.chain.previous(drawn[t - 1], t, model.chain.estimate(drawn[t - 1], t)), drawn[t - 2])
        exact -= bits(model.chain.next(drawn[t - 2], t), drawn[t - 1])
    assert kl == pytest.approx(exact, rel=0.05)


def test_step_without_deviation_is_the_mean(integer_run):
    model, levels = integer_run.model, digits(4)
    chain = LatticeChain(model, integer_run.plan, 8)
    y = chain.draw(levels, 3, torch.Generator().manual_seed(0))
    estimate = chain.predictions(y, 3)
    mean = model.chain.previous(y, 3, estimate).mean.reshape(y.shape)
    found = chain.step(estimate, y, 3, torch.zeros(y.shape))
    assert np.abs(64 * found.numpy() - mean).max() <= 32


def test_passes_are_those_of_the_archive(integer_run):
    """Receiver and archive see the same distributions, pass by pass."""
    model, x = integer_run.model, digits(3).long()
    real, chain = torch.ones(x.shape, dtype=torch.bool), LatticeChain(integer_run.model, integer_run.plan, 8)
    y = chain.draw(digits(3), 1, torch.Generator().manual_seed(0))
    center = chain.evidence(chain.predictions(y, 1), y)
    archive = model.passes(y, x, real)
    for known, now in walk((1, 8, 8), model.pixels.options.side):
        center = chain.renewed(center, y, x, known & real, now)
        mixture, chosen = chain.mixture(center, x, known, now, real)
        other, places = next(archive)
        assert torch.equal(chosen, places)
        assert np.array_equal(mixture.tables(fine=True), other.tables(fine=True))


def test_damage_behind_the_header_is_found(integer_run):
    codec = integer_run.codec()
    content = codec.encode([digits(1)[0]], raw=False)[0].to_bytes()
    for place in range(11, len(content)):
        damaged = bytearray(content)
        damaged[place] ^= 0x10
        with pytest.raises(CodecError, match=r"do not match the file's hash: the file is damaged"):
            codec.decode([Bitstream.from_bytes(bytes(damaged))])


def test_header_has_eleven_bytes(integer_run):
    file = integer_run.codec().encode([digits(1)[0]], raw=False)[0]
    assert file.overhead == 10 + (file.length > 127)
    assert file.to_bytes()[:2] == bytes([0x9D, 0x80 | 5 << 3 | 1])


def test_file_needs_the_model_and_its_channel(integer_run):
    file = integer_run.codec().encode([digits(1)[0]], raw=False)[0]
    with pytest.raises(CodecError, match="choose the model that made it"):
        tiny_integer_model().codec().decode([file])


def test_report_of_integers(integer_run):
    images, codec = digits(8, first=900), integer_run.codec()
    report = report_files(codec, codec.encode(list(images), raw=False), images, bound=2.5)
    assert isinstance(report, CodecReport) and report.divergence < report.channel < 3 * report.divergence + 0.5


def test_fit_is_reproducible(integer_run):
    plans = [fit_channel(integer_run.model, digits(8), seed=3).tensors() for _ in range(2)]
    assert all(torch.equal(plans[0][name], plans[1][name]) for name in plans[0])
