"""`progress=True` shows a bar in a terminal; a function is called; anything else is refused."""

from io import StringIO

import pytest
from rich.console import Console

from nelbo.errors import ConfigurationError
from nelbo.progress import bars, reported, reported_stages


def test_a_function_is_called_as_it_is():
    heard = []
    with reported(lambda *numbers: heard.append(numbers), "work") as report:
        report(1, 2)
    with reported_stages(lambda *numbers: heard.append(numbers)) as report:
        report("stage", 2, 2)
    assert heard == [(1, 2), ("stage", 2, 2)]


@pytest.mark.parametrize("silent", [None, False])
def test_nothing_is_shown_unless_asked(silent, capsys):
    with reported(silent, "work") as report, reported_stages(silent) as report_stage:
        report(1, 2)
        report_stage("stage", 1, 2)
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("wrong", ["yes", 1, 0, []])
def test_other_values_are_refused(wrong):
    one, several = reported(wrong, "work"), reported_stages(wrong)
    with (
        pytest.raises(ConfigurationError, match=r"progress is .*; expected true .* of \(done, total\)\.$"),
        one,
    ):
        pass
    with pytest.raises(ConfigurationError, match=r"function of \(stage, done, total\)\.$"), several:
        pass


def test_a_bar_shows_the_work_in_a_terminal():
    shown = StringIO()
    with bars(Console(file=shown, force_terminal=True, width=80, color_system=None)) as bar:
        bar.of("sampling")(3, 20)
        bar.progress.refresh()
    assert "sampling" in shown.getvalue() and "3/20" in shown.getvalue()


def test_short_work_writes_nothing_to_a_file():
    shown = StringIO()
    with bars(Console(file=shown)) as bar:
        bar("sampling", 1, 2)
        bar("sampling", 2, 2)
    assert shown.getvalue() == ""


def test_long_work_writes_lines_to_a_file(monkeypatch):
    """A step a second: the first line comes after 30 seconds, and later ones whenever a tenth more has passed."""
    clock, shown = [0.0], StringIO()
    monkeypatch.setattr("nelbo.progress.time.monotonic", lambda: clock[0])
    with bars(Console(file=shown, width=20)) as bar:
        for done in range(1001):
            clock[0] = float(done)
            bar("compressing", done, 1000)
    lines = shown.getvalue().splitlines()
    assert lines[0] == "compressing: 30 of 1000, 16:10 left"
    assert lines[1] == "compressing: 60 of 1000, 15:40 left"
    assert 15 < len(lines) < 30 and "━" not in shown.getvalue()


def test_true_shows_a_bar_on_standard_error(capsys, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")  # Rich takes standard error for a terminal
    with reported(True, "sampling") as report:
        report(1, 2)
    found = capsys.readouterr()
    assert "sampling" in found.err and found.out == ""
