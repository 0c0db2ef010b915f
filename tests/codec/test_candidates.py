"""Candidates follow the published generator and the exact quantiles, and depend on their place alone."""

import numpy as np
import pytest
from scipy.special import ndtri
from scipy.stats import kstest

from nelbo.codec.candidates import UNIT, candidates, normal_quantiles, scan_order, start
from nelbo.codec.version import FORMAT
from nelbo.probability.integer_tables import (
    EXP_STEPS,
    LOGISTIC_REACH,
    LOGISTIC_STEPS,
    LOGISTIC_UNIT,
    exponentials,
    inverse_scales,
    logistic_cdf,
)

MASK = 2**64 - 1
FROZEN_START = [-10488, 2364, -4796, 517, 2728]
FROZEN_SCAN = [8, 5, 4, 1, 11, 10, 7, 2, 3, 0, 9, 6]


def philox(counter: list[int], key: list[int]) -> list[int]:
    """Compute Philox4x64-10 as published, in Python's integers."""
    c, k = list(counter), list(key)
    for _ in range(10):
        high0, low0 = divmod(0xD2E7470EE14C6C93 * c[0], 2**64)
        high1, low1 = divmod(0xCA5A826395121157 * c[2], 2**64)
        c = [high1 ^ c[1] ^ k[0], low1, high0 ^ c[3] ^ k[1], low0]
        k = [(k[0] + 0x9E3779B97F4A7C15) & MASK, (k[1] + 0xBB67AE8584CAA73B) & MASK]
    return c


@pytest.mark.parametrize(("step", "chunk", "index", "place"), [(0, 0, 0, 0), (3, 2, 77, 5), (17, 40, 9999, 63)])
def test_candidate_is_philox_mapped_by_the_table(step, chunk, index, place):
    words = philox([index + 1, place // 16, 0, 0], [FORMAT << 32 | step, chunk])
    number = words[place % 16 // 4] >> 16 * (place % 4) & 0xFFFF
    assert candidates(step, chunk, index, 1, place + 1)[0, place] == normal_quantiles()[number]


def test_a_candidate_depends_on_its_place_alone():
    many = candidates(4, 1, 0, 50, 40)
    assert np.array_equal(candidates(4, 1, 30, 5, 40), many[30:35])
    assert np.array_equal(candidates(4, 1, 0, 50, 17), many[:, :17])
    assert not np.array_equal(candidates(5, 1, 0, 50, 40), many)
    assert not np.array_equal(candidates(4, 2, 0, 50, 40), many)
    assert candidates(4, 1, 0, 3, 0).shape == (3, 0)


def test_quantiles_are_normal():
    table = normal_quantiles()
    assert np.array_equal(table, np.rint(ndtri((np.arange(65536) + 0.5) / 65536) / UNIT))
    assert np.array_equal(table, -table[::-1])
    assert abs((table * UNIT).var() - 1) < 3e-5


def test_candidates_are_normal():
    z = candidates(9, 3, 0, 4000, 25) * UNIT
    assert kstest(z.ravel(), "norm").pvalue > 1e-3
    assert np.abs(np.corrcoef(z.T) - np.eye(25)).max() < 5 / np.sqrt(4000)


def test_start_and_scan_are_frozen():
    # from version 1 of the format: these numbers never change
    assert start(5).tolist() == FROZEN_START
    assert scan_order(12).tolist() == FROZEN_SCAN
    assert sorted(scan_order(784)) == list(range(784))


def test_frozen_tables_match_their_definitions():
    z = np.arange(-LOGISTIC_REACH, LOGISTIC_REACH + 1 / LOGISTIC_STEPS, 1 / LOGISTIC_STEPS)
    assert np.abs(logistic_cdf() - LOGISTIC_UNIT / (1 + np.exp(-z))).max() < 0.5001
    assert np.abs(exponentials() - 65536 * np.exp(-np.arange(len(exponentials())) / EXP_STEPS)).max() < 0.5001
    scales = 2.0 ** (np.arange(96) / 8 - 5)
    assert np.abs(inverse_scales() * scales / (2**16 * LOGISTIC_STEPS / 16) - 1).max() < 1e-4
    assert (np.diff(logistic_cdf()) >= 0).all() and (np.diff(exponentials()) <= 0).all()
