"""The display of a training run."""

from dataclasses import replace
from io import StringIO

import pytest
from rich.console import Console

from nelbo.cli.display import TrainingDisplay
from nelbo.recipes import preset
from nelbo.runs import DataOptions, RunConfig
from nelbo.training import TrainingStep

RECORD = {"loss": 0.123456, "loss_unit": "bits/dim", "loss_by_quarter": [0.5, 0.25, 0.125, 0.0625]}


def line(width: int, verbose: bool = False) -> str:
    """Return the bar in a terminal of this width, late in a long run."""
    display = TrainingDisplay(verbose)
    display.task = display.progress.add_task("training", total=1.0, note="")
    display.previewed({"step": 12345, "held_out_bits_per_dim": 2.8915, "held_out_standard_error": 0.01})
    for number, fraction, seconds in ((12344, 0.0, 0.0), (12345, 0.25, 1800.0)):
        display.stepped(TrainingStep(number, fraction, seconds, images_per_second=123.4, record=RECORD))
    console = Console(width=width, file=StringIO(), force_terminal=True, color_system=None)
    console.print(display.progress.get_renderable())
    return console.file.getvalue()


def test_80_columns_hold_the_bar_the_share_the_time_and_the_bound():
    shown = line(80)
    assert shown.count("\n") == 1
    assert "━━━━" in shown and "25%" in shown
    assert "1:30:00 left, step 12345, bound 2.892 bits/dim" in shown


@pytest.mark.parametrize("verbose", [False, True])
def test_losses_by_quarter_are_for_verbose(verbose: bool):
    shown = line(200, verbose)
    assert "123 images/s, loss 0.1235 bits/dim" in shown
    assert ("by quarter of t: 0.5 0.25 0.125 0.0625" in shown) == verbose


def config(minutes: float = 10.0, side: int = 32) -> RunConfig:
    recipe = preset("images").with_overrides({"training.minutes": minutes})
    data = DataOptions(
        spec="photos", shape=(3, side, side), levels=256, num_train=90, num_held_out=10, class_names=(), class_counts=()
    )
    return RunConfig(recipe, data, "images")


@pytest.mark.parametrize(
    ("fraction", "side", "said"), [(0.05, 32, "about 400 steps"), (0.005, 32, None), (0.05, 8, None)]
)
def test_short_training_is_told_what_to_expect(fraction: float, side: int, said: str | None, monkeypatch):
    """Twenty steps in a twentieth of the budget are 400 in all, and 32,000 of 64,000 images in less than a half."""
    lines = list[str]()
    monkeypatch.setattr("nelbo.cli.display.say", lines.append)
    display = TrainingDisplay()
    display.config = config(side=side)
    for step in (19, 20, 21):
        display.stepped(TrainingStep(step, step / 20 * fraction, 1.0, 30.0, {}))
    if said is None:
        assert lines == []
    else:
        (line,) = lines
        assert said in line and "usually recognisable after 2,000 steps" in line


def test_end_of_a_short_training_says_how_to_go_on(monkeypatch):
    """500 steps in 8 minutes of the network, and 2 of the decoder: 2,000 steps take 32 of 40."""
    lines = list[str]()
    monkeypatch.setattr("nelbo.cli.display.say", lines.append)
    display = TrainingDisplay()
    display.config, display.without_model = config(), "raw 8.00, PNG files 5.24"
    display.last = TrainingStep(500, 1.0, 479.9, 30.0, {})
    display.finished({"step": 500, "held_out_bits_per_dim": 3.4, "held_out_standard_error": 0.125})
    bound, advice = lines
    assert "3.400 +- 0.125 bits/dim, a rough estimate" in bound and bound.endswith("raw 8.00, PNG files 5.24")
    assert "500 steps are few" in advice and "--minutes 40 or more resumes" in advice


def test_first_step_does_not_count_for_the_remaining_time(monkeypatch):
    """The first of 100 steps takes a minute, the second one a second: 98 seconds are left."""
    display = TrainingDisplay()
    first, second = TrainingStep(1, 0.01, 60.0, 0.5, {}), TrainingStep(2, 0.02, 61.0, 32.0, {})
    display.stepped(first)
    assert display._left(first) == ""
    display.stepped(second)
    assert display._left(second) == "1:38 left" and display.speed == 32.0


def test_training_prints_lines_where_there_is_no_terminal(monkeypatch):
    lines, clock = list[str](), [0.0]
    monkeypatch.setattr("nelbo.cli.display.say", lines.append)
    monkeypatch.setattr("nelbo.progress.time.monotonic", lambda: clock[0])
    display = TrainingDisplay()
    for number in range(1, 101):
        clock[0] = float(number)
        display.stepped(TrainingStep(number, number / 100, clock[0], 30.0, RECORD))
    assert lines[0] == "training: 30%, 1:10 left, step 30, 30 images/s, loss 0.1235 bits/dim"
    assert len(lines) == 3


@pytest.mark.parametrize(
    ("speed", "pictures", "said"), [(20.0, True, ["0:28"]), (0.4, False, ["1:23"]), (2000.0, True, []), (20, False, [])]
)
def test_time_after_the_budget_is_announced(speed: float, pictures: bool, said: list[str], monkeypatch):
    lines = list[str]()
    monkeypatch.setattr("nelbo.cli.display.say", lines.append)
    display = TrainingDisplay(pictures=pictures)
    display.config = config()  # 10 held-out images
    display.stepped(TrainingStep(step=1, fraction=1.0, seconds=60.0, images_per_second=speed, record={}))
    for done in range(101):
        display.staged("calibrating", done, 100)
    found = [text for text in lines if "besides the budget" in text]
    assert len(found) == len(said) and all(time in text for time, text in zip(said, found, strict=True))


@pytest.mark.parametrize(
    ("changes", "options", "said"),
    [
        ({}, ("minutes",), "the network's part of the budget of 10 minutes is spent; give a larger --minutes to train"),
        (
            {"decoder.kind": "gaussian", "training.steps": 9},
            ("steps", "minutes"),
            "the budget of 9 steps and 10 minutes is spent; give a larger --steps and --minutes to train further",
        ),
    ],
)
def test_a_spent_budget_names_its_options(changes, options, said, monkeypatch):
    lines = list[str]()
    monkeypatch.setattr("nelbo.cli.display.say", lines.append)
    begun = config()
    spent = TrainingDisplay().listener().on_spent
    spent(replace(begun, recipe=begun.recipe.with_overrides(changes)), options)
    assert len(lines) == 1 and lines[0].startswith(said)
