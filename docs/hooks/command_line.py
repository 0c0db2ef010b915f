"""Add the page of the command line, written by Typer from the commands themselves.

`typer nelbo.cli.app utils docs` prints the help of all commands as Markdown. The page exists only during the build, so
it cannot become outdated.
"""

import re
import subprocess
import sys

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

PAGE = "command-line.md"
TITLE = "# Command line\n\nThis page is generated from the program: it is what `nelbo COMMAND --help` prints.\n"
SECTION = re.compile(r"^## `nelbo (?P<command>[\w-]+)`\n\n(?P<summary>.+?)(?=\n\n)", re.MULTILINE | re.DOTALL)
COMMANDS = re.compile(r"^\*\*Commands\*\*:\n\n(?:^\* .*\n)+", re.MULTILINE)
BOLD = re.compile(r"\[/?bold\]")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the page to the pages that MkDocs found."""
    command = [sys.executable, "-m", "typer", "--app", "app", "nelbo.cli.app", "utils", "docs", "--name", "nelbo"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    files.append(File.generated(config, PAGE, content=page(done.stdout)))
    return files


def page(printed: str) -> str:
    """Turn what Typer prints into the page: a title, and a list of commands with links and whole sentences."""
    body = printed.partition("\n")[2]  # without Typer's title
    items = [
        f"* [`{found['command']}`](#nelbo-{found['command']}): {' '.join(found['summary'].split())}"
        for found in SECTION.finditer(body)
    ]
    listed = "**Commands**:\n\n" + "\n".join(items) + "\n"
    return TITLE + BOLD.sub("`", COMMANDS.sub(lambda _: listed, body, count=1))
