"""Channel simulation: samples follow q, and their indices take about KL(q || p) bits."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy.stats import kstest

from nelbo.codec import channel
from nelbo.codec.channel import Target, arrivals, choose, regenerate
from nelbo.codec.chunks import ChunkLayout, candidate_bits

DIMS, SENT, BITS = 6, 1500, 5.0
LEVEL = 1e-3  # of each test below, 2 * DIMS tests in each case: about 1 of 40 changes of the seeds is a false alarm


def target(ratio: float, bits: float = BITS) -> Target:
    """Return a target of DIMS dimensions with equal shifts and `bits` of KL in total."""
    rest = (ratio**2 - 1 - 2 * math.log(ratio)) / 2
    shift = math.sqrt(2 * (bits * math.log(2) / DIMS - rest))
    return Target(torch.full((1, DIMS), shift), ratio)


def sent(wanted: Target, log2_candidates: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the indices and values of SENT samples, each with its own candidates and arrivals."""
    found = [choose([wanted], step, 0, log2_candidates, seed=7)[0] for step in range(SENT)]
    return torch.cat([index for index, _ in found]).numpy(), torch.cat([z for _, z in found]).numpy()


@pytest.mark.parametrize("ratio", [0.9, 0.7])
def test_samples_follow_q(ratio):
    """With 2^13 candidates for 5 bits of KL, the bias of a fixed number is far below what the test detects."""
    wanted = target(ratio)
    _, z = sent(wanted, 13)
    shift = wanted.shift[0].numpy()
    standard = (z - shift) / ratio
    assert np.abs(standard.mean(0)).max() < 4 / math.sqrt(SENT)
    assert np.abs(standard.var(0) - 1).max() < 4 * math.sqrt(2 / SENT)
    assert min(kstest(standard[:, d], "norm").pvalue for d in range(DIMS)) > LEVEL
    correlation = np.corrcoef(standard.T) - np.eye(DIMS)
    assert np.abs(correlation).max() < 4.5 / math.sqrt(SENT)


def test_indices_take_about_the_kl():
    # Li & El Gamal (2018): E log2 of the index is at most KL + log2(e) / e + 1
    wanted = target(0.8)
    index, _ = sent(wanted, 13)
    bits = np.log2(index + 1.0)
    assert BITS - 1 < bits.mean() < BITS + math.log2(math.e) / math.e + 1


def test_too_few_candidates_are_biased_towards_p():
    # shows that `test_samples_follow_q` can fail: with 2^3 candidates for 5 bits, samples fall short of q
    wanted = target(0.8)
    _, z = sent(wanted, 3)
    behind = (wanted.shift[0].numpy() - z.mean(0)) / 0.8
    assert (behind > 4 / math.sqrt(SENT)).all()


@pytest.mark.parametrize(("bits", "least", "most"), [(5.0, -0.05, 0.05), (12.0, 0.05, 0.22)])
def test_full_chunk_of_the_codec_is_slightly_biased(bits, least, most):
    """Effort 5 has chunks of 12 bits among 2^14 candidates; a chunk of 5 bits shows no bias."""
    num, dims, ratio = 400, 13, 0.85
    rest = (ratio**2 - 1 - 2 * math.log(ratio)) / 2
    shift = math.sqrt(2 * (bits * math.log(2) / dims - rest))
    wanted = Target(torch.full((1, dims), shift), ratio)
    width = candidate_bits(5)
    z = torch.cat([choose([wanted], step, 0, width, seed=7)[0][1] for step in range(num)])
    behind = float((shift - z).mean()) / ratio
    assert least < behind < most  # its standard error is 0.014


def test_receiver_regenerates_the_same_sample():
    wanted = Target(torch.randn(3, 20, generator=torch.Generator().manual_seed(0)) * 0.4, 0.8)
    index, z = choose([wanted], 5, 2, 10, seed=1)[0]
    for i, own in zip(index.tolist(), z, strict=True):
        assert torch.equal(regenerate(5, 2, i, 20), own)


def test_narrow_targets_share_the_candidates():
    generator = torch.Generator().manual_seed(0)
    wide, narrow = (Target(torch.randn(2, d, generator=generator) * 0.4, 0.8) for d in (20, 7))
    together = choose([wide, narrow], 5, 2, 10, seed=1)
    alone = [choose([each], 5, 2, 10, seed=1)[0] for each in (wide, narrow)]
    for (i, z), (j, w) in zip(together, alone, strict=True):
        assert torch.equal(i, j) and torch.equal(z, w)


def test_each_dimension_may_have_its_own_ratio():
    """With equal ratios, the same candidates are chosen; the KL is the sum of those of the dimensions."""
    shift = torch.randn(3, 20, generator=torch.Generator().manual_seed(0)) * 0.4
    one, each = Target(shift, 0.8), Target(shift, torch.full((3, 20), 0.8))
    assert torch.equal(choose([one], 5, 2, 10, seed=1)[0][0], choose([each], 5, 2, 10, seed=1)[0][0])
    torch.testing.assert_close(each.kl(), one.kl(), rtol=1e-6, atol=1e-7)
    mixed = Target(shift, torch.linspace(0.3, 1.0, 60).view(3, 20))
    alone = Target(shift[:, 4:5], float(mixed.ratio[1, 4]))
    torch.testing.assert_close(mixed.kl()[1, 4], alone.kl()[1, 0])
    assert torch.equal(mixed.of([2, 0], slice(3, 6)).ratio, mixed.ratio[[2, 0], 3:6])


def test_chosen_candidates_have_the_ratio_of_their_dimension():
    """Of two dimensions with one KL each, the chosen z spread as q does in each."""
    ratio = torch.tensor([[0.4, 0.9]])
    wanted = Target(torch.zeros(1, 2), ratio)
    z = torch.cat([choose([wanted], step, 0, 9, seed=7)[0][1] for step in range(1500)])
    assert z.std(0).tolist() == pytest.approx(ratio[0].tolist(), rel=0.07)  # 3.8 standard errors


def test_many_tiles_take_fewer_candidates_at_once(monkeypatch):
    wanted, scored = Target(torch.randn(40, 6, generator=torch.Generator().manual_seed(0)) * 0.4, 0.8), []
    whole = choose([wanted], 5, 2, 10, seed=1)[0]
    consider = channel._Best.consider
    monkeypatch.setattr(channel._Best, "consider", lambda *given: scored.append(given[1].numel()) or consider(*given))
    monkeypatch.setattr(channel, "MOST_SCORES", 40 * 100)
    index, z = choose([wanted], 5, 2, 10, seed=1)[0]
    assert torch.equal(index, whole[0]) and torch.equal(z, whole[1])
    assert max(scored) == 40 * 100 and sum(scored) == 40 * 1024


def test_kl_matches_the_closed_form():
    wanted = Target(torch.tensor([[0.3, -1.0]]), 0.6)
    expected = [(shift**2 + 0.36 - 1 - math.log(0.36)) / 2 for shift in wanted.shift[0].tolist()]
    assert wanted.kl()[0].tolist() == pytest.approx(expected, rel=1e-12)


def test_chunks_have_nearly_equal_expected_kl():
    expected = torch.randint(0, 300, (2, 100), generator=torch.Generator().manual_seed(0))
    layout = ChunkLayout(expected)
    for number in (1, 2, 7, 100):
        cuts = layout.cuts(1, number)
        assert cuts[0] == 0 and cuts[-1] == 100 and len(cuts) == number + 1 and cuts == sorted(cuts)
    cuts, scanned = layout.cuts(0, 5), expected[0][layout.order].clamp(min=1)
    sums = [int(scanned[a:b].sum()) for a, b in pairwise(cuts)]
    assert max(sums) - min(sums) <= 2 * 300


def test_every_chunk_has_its_own_arrivals():
    places = [(0, 0), (0, 1), (1, 0), (1, 1), (2, 1)]
    first = {float(arrivals(7, step, chunk, 1)[0]) for step, chunk in places}
    assert len(first) == len(places)
