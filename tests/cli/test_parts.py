"""`nelbo score` and `nelbo evaluate` with --out: part by part into a folder."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.conftest import Outcome

Call = Callable[..., Outcome]
FEW = ("--steps-per-image", 2, "--device", "cpu")


def test_scores_by_parts_are_those_at_once(nelbo_cli: Call, unconditional: Path):
    pictures = unconditional.parent / "pictures"
    once = nelbo_cli("score", pictures, "-m", unconditional, *FEW, "--json", "once.json")
    parts = nelbo_cli("score", pictures, "-m", unconditional, *FEW, "-o", "parts", "--part-size", 64)
    assert once.code == parts.code == 0
    assert parts.out.startswith(once.out) and "parts: 1 Parquet file" in parts.out
    again = nelbo_cli("score", pictures, "-m", unconditional, *FEW, "-o", "parts", "--part-size", 64, "--json", "-")
    values, scores = json.loads(again.out), json.loads(Path("once.json").read_text())["scores"]
    assert [(each["image"], each["bits_per_dim"]) for each in values["highest"]] == [
        (each["image"], each["bits_per_dim"]) for each in scores[:10]
    ]
    assert values["num_images"] == 24 and values["lowest"]["image"] == scores[-1]["image"]


def test_the_bound_by_parts_is_that_at_once(nelbo_cli: Call, unconditional: Path):
    options = ("--data", unconditional.parent / "pictures", "--batch-size", 8, *FEW)
    once = nelbo_cli("evaluate", unconditional, *options)
    parts = nelbo_cli("evaluate", unconditional, *options, "--out", "parts", "--part-size", 8)
    assert once.code == parts.code == 0 and once.out == parts.out
    assert len(list(Path("parts").glob("*.parquet"))) == 3 and "3 Parquet files" in parts.err
    again = nelbo_cli("evaluate", unconditional, *options, "--out", "parts", "--part-size", 8)
    assert again.out == once.out and "3 of them were there" in again.err


def test_held_out_images_are_evaluated_by_parts(nelbo_cli: Call, unconditional: Path):
    once = nelbo_cli("evaluate", unconditional, *FEW)
    assert nelbo_cli("evaluate", unconditional, *FEW, "-o", "parts").out.startswith(once.out.partition("the bound")[0])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--engine", "ray"), "--engine works part by part into a folder; give --out FOLDER too"),
        (("--part-size", 64), "--part-size works part by part into a folder; give --out FOLDER too"),
        (("-o", "parts", "--engine", "rai"), "unknown engine 'rai'; did you mean 'ray'?"),
        (("-o", "parts", "--workers", 2), "only the engine ray has --workers; give --engine ray too"),
        (("-o", "parts", "--part-size", 100), "--part-size is 100, no multiple of the --batch-size 64; give 128"),
    ],
)
def test_options_that_do_not_fit_are_refused(
    nelbo_cli: Call, unconditional: Path, options: tuple[object, ...], message: str
):
    pictures = unconditional.parent / "pictures"
    for command in (("score", pictures, "-m", unconditional), ("evaluate", unconditional, "--data", pictures)):
        refused = nelbo_cli(*command, *FEW, *options)
        assert refused.code == 2 and message in refused.err


def test_outputs_that_exclude_each_other_are_refused(nelbo_cli: Call, unconditional: Path):
    refused = nelbo_cli("score", "digits", "-m", unconditional, "-o", "parts", "--csv", "scores.csv")
    assert refused.code == 2 and "with --out, the score of each image is in the folder; remove --csv" in refused.err
    for option in ("--ode", "--forms"):
        refused = nelbo_cli("evaluate", unconditional, "-o", "parts", option)
        assert refused.code == 2 and "--out computes the bound alone" in refused.err


def test_a_model_without_a_chain_is_refused(nelbo_cli: Call, tmp_path: Path):
    assert nelbo_cli("train", "--data", "digits", "--out", "vae", "--preset", "vae-digits", "--steps", 1).code == 0
    refused = nelbo_cli("score", "digits", "-m", "vae", "-o", "parts")
    assert refused.code == 2 and "engines score with diffusion models" in refused.err
