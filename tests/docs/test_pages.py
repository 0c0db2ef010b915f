"""The pages are correct: their Python runs and prints what is shown, and their commands and pictures exist.

The blocks of a page share one namespace and run in an empty folder. The output of a block must equal the ```text block
directly after it. A block with "slow" in its title runs in the slow tests, after the other blocks of its page.
"""

import io
import os
import re
import subprocess
import sys
from contextlib import redirect_stdout
from pathlib import Path

import pytest
import typer

import nelbo
from nelbo.cli import plot
from nelbo.cli.app import app
from tests.prose import Block, commands_in, python_blocks, unknown_options

ROOT = Path(__file__).parents[2]
PAGES = {path.relative_to(ROOT / "docs").as_posix(): path for path in sorted((ROOT / "docs").rglob("*.md"))}
TEXTS = {name: path.read_text(encoding="utf-8") for name, path in PAGES.items()}
WITH_PYTHON = [name for name, text in TEXTS.items() if python_blocks(text)]
WITH_SLOW = [name for name in WITH_PYTHON if any(block.slow for block in python_blocks(TEXTS[name]))]
COMMANDS = [(name, line) for name, text in TEXTS.items() for line in commands_in(text)]
NETWORK = re.compile(r"<(?:script|link|img|iframe)\b[^>]*\b(?:src|href)=\"?(?:https?:)?//(?!localhost)")


def run(blocks: list[Block], folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    names: dict[str, object] = {"__name__": "__page__"}
    for number, block in enumerate(blocks, 1):
        printed = io.StringIO()
        with redirect_stdout(printed):
            exec(compile(block.code, f"block {number}", "exec"), names)
        assert printed.getvalue() == block.prints, f"block {number} does not print what the page shows"


@pytest.mark.parametrize("page", WITH_PYTHON)
def test_python_prints_what_is_shown(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    run([block for block in python_blocks(TEXTS[page]) if not block.slow], tmp_path, monkeypatch)


@pytest.mark.slow
@pytest.mark.parametrize("page", WITH_SLOW)
def test_slow_python_prints_what_is_shown(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    run(python_blocks(TEXTS[page]), tmp_path, monkeypatch)


@pytest.mark.parametrize(("page", "line"), COMMANDS, ids=[f"{page}: {line}" for page, line in COMMANDS])
def test_commands_have_the_options_shown(page: str, line: str):
    assert unknown_options(line) == set()


def test_every_theory_page_has_python():
    theory = [name for name in TEXTS if name.startswith("theory/") and name != "theory/index.md"]
    assert len(theory) == 7 and set(theory) <= set(WITH_PYTHON)


@pytest.mark.parametrize("page", [name for name, text in TEXTS.items() if "](" in text])
def test_pictures_exist_with_the_command_that_draws_them(page: str):
    for link in re.findall(r"!\[[^\]]*\]\(([^)]+)\)", TEXTS[page]):
        picture = (PAGES[page].parent / link).resolve()
        assert picture.is_file() and picture.is_relative_to(ROOT / "docs" / "images")
        target = f"docs/images/{picture.name}"
        copied = re.search(rf"^cp (\S+)/\S+ {re.escape(target)}$", TEXTS[page], re.MULTILINE)
        # a command that draws several pictures writes them to a folder
        commands = [f"--out {copied[1] if copied else target}"]
        commands += [f"--pictures {Path(target).parent}"] if picture.name.startswith("studio-") else []
        assert any(command in TEXTS[page] for command in commands)


def test_figures_page_has_every_plot_command():
    commands = {line.split()[1] for line in commands_in(TEXTS["how-to/figures.md"]) if line.startswith("plot ")}
    assert commands == set(typer.main.get_command(plot.app).commands)


def test_example_image_takes_the_bytes_that_its_page_names():
    picture = ROOT / "examples" / "boot.png"
    shown = re.search(r"(\d+) bytes as PNG, (\d+) bytes as `.nelbo` file", TEXTS["how-to/compressing.md"])
    assert shown is not None
    [file] = nelbo.load("fashion-mnist").codec().encode([nelbo.load_data(picture).train.images([0])[0]])
    assert picture.stat().st_size == int(shown[1])
    assert len(file.to_bytes()) == pytest.approx(int(shown[2]), abs=4)  # on other machines, floats differ slightly


def test_every_picture_is_shown():
    shown = {Path(link).name for text in TEXTS.values() for link in re.findall(r"\]\(([^)]+)\)", text)}
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    unseen = {path.name for path in (ROOT / "docs" / "images").iterdir()} - shown
    assert all(name in readme for name in unseen)


def assert_command_line_is_complete(page: str) -> None:
    """Check that a page contains each command with its heading and each of its options."""
    program = typer.main.get_command(app)
    commands = {f"nelbo {name}": command for name, command in program.commands.items()}
    commands |= {f"nelbo plot {name}": command for name, command in program.commands["plot"].commands.items()}
    for name, command in commands.items():
        _, _, section = page.partition(f'<h{2 + name.count("plot ")} id="{name.replace(" ", "-")}">')
        section = re.split("<h[23]", section)[0]
        assert section, f"{name} is missing"
        for parameter in getattr(command, "params", []):
            flags = [flag for flag in parameter.opts + parameter.secondary_opts if flag.startswith("--")]
            missing = [flag for flag in flags if not re.search(re.escape(flag) + r"(?![\w-])", section)]
            assert missing == [], name


@pytest.mark.slow
def test_site_builds_without_warnings_or_network(tmp_path: Path):
    pytest.importorskip("mkdocs", reason="building the site needs the extra nelbo[docs]")
    build = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path / "site")]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(build, cwd=ROOT, capture_output=True, text=True, env=environment)
    assert (done.returncode, done.stderr) == (0, "")
    site = tmp_path / "site"
    assert_command_line_is_complete((site / "command-line.html").read_text(encoding="utf-8"))
    for name in ("mlp_walk_through", "one_image_through_the_bound"):
        assert (site / "notebooks" / f"{name}.html").is_file() and list((site / "notebooks").glob(f"{name}_*.png"))
    pages = list(site.rglob("*.html"))
    assert len(pages) >= len(PAGES)
    for page in pages:
        text = page.read_text(encoding="utf-8")
        assert NETWORK.search(text) is None, page
        assert 'class="arithmatex"' not in text, page
