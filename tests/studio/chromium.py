"""A server of the page, and a browser that watches what it asks for and what it complains about."""

import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from tests.conftest import free_port

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


@dataclass
class Served:
    """A running studio.

    Attributes:
        address: of the page.
        process: of the server.
        seconds: from the start to the message that the page can be used.
    """

    address: str
    process: "subprocess.Popen[str]"
    seconds: float

    def cpu_seconds(self) -> float:
        """Return the processor time that the server has taken; Linux only."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / 100


@contextmanager
def served(folder: Path, *names: str) -> Iterator[Served]:
    """Serve the page of some models in a folder, and stop it at the end."""
    port, began = free_port(), time.perf_counter()
    words = [sys.executable, "-m", "nelbo", "studio", *names, "--no-browser", "--port", str(port), "--device", "cpu"]
    with subprocess.Popen(
        words, cwd=folder, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, start_new_session=True
    ) as process:
        lines = []
        for line in process.stderr:
            lines.append(line)
            if "the studio is at" in line:
                break
        else:
            raise AssertionError(f"the studio did not start: {''.join(lines)}")
        try:
            yield Served(f"http://127.0.0.1:{port}", process, time.perf_counter() - began)
        finally:
            process.terminate()
            with suppress(subprocess.TimeoutExpired):
                process.wait(20)
            process.kill()


def chromium() -> str:
    """Return the path of the system's Chromium.

    Raises:
        AssertionError: there is none.
    """
    found = next(filter(None, map(shutil.which, NAMES)), None)
    assert found, f"no Chromium: install one of {', '.join(NAMES)}, for example by `apt install chromium`."
    return found


@dataclass
class Watched:
    """What went wrong on a page: errors on its console, and requests that left this computer."""

    errors: list[str] = field(default_factory=list)
    foreign: list[str] = field(default_factory=list)

    def watch(self, page) -> None:
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("console", lambda message: message.type == "error" and self.errors.append(message.text))
        page.on("request", lambda request: _leaves(request.url) and self.foreign.append(request.url))


def _leaves(url: str) -> bool:
    return not url.startswith(("http://127.0.0.1:", "ws://127.0.0.1:", "data:", "blob:"))


def move(page, slider: str, value: int) -> None:
    """Move a slider, as a hand does."""
    page.locator(f"{slider} input[type=range]").evaluate(
        "(e, v) => { e.value = v; e.dispatchEvent(new Event('input', { bubbles: true })); }", value
    )


def open_tab(page, name: str) -> None:
    """Show a tab; on a narrow screen, it may be in the menu."""
    tab = page.get_by_role("tab", name=name, exact=True).first
    if not tab.is_visible():
        page.locator(".overflow-menu button").first.click()
        page.locator(".overflow-dropdown button", has_text=name).first.click()
        return
    tab.click()
