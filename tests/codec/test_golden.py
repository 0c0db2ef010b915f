"""Files written by version 1 of the format decode to the same pixels in every later build."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import nelbo
from nelbo.codec import Bitstream, CodecPlan, RangeDecoder, RawImage
from nelbo.errors import CodecError
from nelbo.files import read_metadata, read_tensors
from nelbo.runs import PLAN_FILE, DiffusionRun, find_model, load_as
from nelbo.runs.codec_plan import FORMER, fingerprint

GOLDEN = Path(__file__).parent / "golden"
FORMER_MODEL = GOLDEN / "fashion-mnist-v1"
FILES = sorted(path.stem for path in GOLDEN.glob("*.nelbo"))


@pytest.fixture(scope="module")
def codecs():
    tiny, colour = (load_as(DiffusionRun, GOLDEN / name).codec() for name in ("tiny", "colour"))
    former = load_as(DiffusionRun, FORMER_MODEL).codec()
    maker = Bitstream.from_bytes((GOLDEN / "garment-0.nelbo").read_bytes()).fingerprint  # it also has integers
    return {
        "tiny": tiny,
        "colour": colour,
        "fashion": former,
        "garment": nelbo.load("fashion-mnist").codec(maker=maker),
    }


def test_all_golden_files_are_present():
    assert len(FILES) == 18


@pytest.mark.parametrize("name", FILES)
def test_golden_files_decode_exactly(codecs, name):
    file = Bitstream.from_bytes((GOLDEN / f"{name}.nelbo").read_bytes())
    codec = codecs.get(name.split("-")[0], codecs["tiny"])
    found = codec.decode([file])[0]
    assert np.array_equal(found.image.numpy(), np.load(GOLDEN / f"{name}.npy"))
    assert found.status == {"lossy": "lossy", "prefix": "lossy", "short": "truncated"}.get(name, "lossless")
    assert isinstance(file, RawImage) == (name == "raw")


def test_bundled_model_is_found_by_fingerprint():
    file = Bitstream.from_bytes((GOLDEN / "garment-0.nelbo").read_bytes())
    assert find_model(file.fingerprint).name == "fashion-mnist"


def test_former_bundled_model_is_found_by_fingerprint(monkeypatch):
    """Without its folder, the message says where the model is now."""
    file = Bitstream.from_bytes((GOLDEN / "fashion-0.nelbo").read_bytes())
    with pytest.raises(CodecError, match=r"made by fashion-mnist-v1, a bundled model of an earlier version; copy"):
        find_model(file.fingerprint)
    monkeypatch.setenv("NELBO_MODELS", str(GOLDEN))
    assert find_model(file.fingerprint) == FORMER_MODEL
    plan = read_metadata(FORMER_MODEL / PLAN_FILE)["fingerprint"]
    assert {plan: FORMER_MODEL.name} == FORMER


def test_range_coder_matches_the_specification():
    table = [0, 1 << 15, 3 << 14, 1 << 16]
    decoder = RangeDecoder(bytes.fromhex("d2f0"))
    assert [decoder.symbol(table) for _ in range(6)] == by_hand("d2f0", table, 6)


def by_hand(content, table, num):
    """Read `num` symbols as section 2 of docs/format.md states."""
    data = iter([*bytes.fromhex(content), *bytes(50)])
    code, width, found = int.from_bytes(bytes(next(data) for _ in range(4)), "big"), 2**32 - 1, []
    for _ in range(num):
        unit = width >> 16
        target = min(code // unit, 65535)
        k = max(k for k in range(len(table) - 1) if table[k] <= target)
        code -= unit * table[k]
        width = unit * (table[k + 1] - table[k])
        while width < 2**24:
            width, code = width * 256, code * 256 + next(data)
        found.append(k)
    return found


def test_options_at_defaults_leave_fingerprints_unchanged():
    run = load_as(DiffusionRun, FORMER_MODEL, device="cpu")
    plan = CodecPlan.from_tensors(read_tensors(run.folder / PLAN_FILE)[0])
    known = read_metadata(run.folder / PLAN_FILE)["fingerprint"]
    assert fingerprint(run.model, plan).hex() == known
    for part, changes in (
        ("network", {"norm_eps": 1e-5}),
        ("network", {"head_width": 32}),
        ("network", {"symmetric_padding": True}),
        ("network", {"first_time": 0}),
        ("network", {"frequency_shift": 0}),
        ("schedule", {"betas": (0.5,)}),
    ):
        recipe = replace(run.recipe, **{part: replace(getattr(run.recipe, part), **changes)})
        changed = replace(run, config=replace(run.config, recipe=recipe))
        assert fingerprint(changed.model, plan).hex() != known, changes
