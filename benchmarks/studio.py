"""Time the page of `nelbo studio` in a browser, and take its pictures.

    python -m benchmarks.studio [--pictures docs/images]

It prints the seconds from the command to a page that can be used, and the time from the move of a slider to the new
picture: the median of 20 moves of t and of 20 moves of bytes. It needs the extra `test-studio` and Chromium.
"""

import argparse
import statistics
import tempfile
import time
from io import BytesIO
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import Page, sync_playwright

from tests.studio.chromium import chromium, open_tab, served

MODEL = "fashion-mnist"
MOVES = 20
WIDTHS = (1280, 390)  # pixels of the window
PATIENCE = 120_000  # milliseconds
COLOURS = 128  # of a picture
# Moves a slider, and returns the milliseconds until the view has another picture in its first changed place.
TIMED = """([slider, view, value]) => new Promise((done) => {
    const input = document.querySelector(`${slider} input[type=range]`);
    const target = document.querySelector(view);
    const before = target.innerHTML;
    const began = performance.now();
    const watch = new MutationObserver(() => {
        if (target.innerHTML === before) return;
        watch.disconnect();
        const images = [...target.querySelectorAll('img')];
        Promise.all(images.map((image) => image.decode().catch(() => null)))
            .then(() => requestAnimationFrame(() => done(performance.now() - began)));
    });
    watch.observe(target, { childList: true, subtree: true, characterData: true, attributes: true });
    input.value = value;
    input.dispatchEvent(new Event('input', { bubbles: true }));
})"""


def moves(page: Page, slider: str, view: str) -> list[float]:
    """Move a slider to places all over its range, and return the milliseconds of each move."""
    low, high = (float(page.locator(f"{slider} input[type=range]").get_attribute(name) or 0) for name in ("min", "max"))
    places = [round(low + (high - low) * (7 * i % MOVES + 1) / (MOVES + 1)) for i in range(MOVES)]
    found = []
    for place in places:
        found.append(float(page.evaluate(TIMED, [slider, view, place])))
        time.sleep(0.2)
    return found


def opened(browser: Any, address: str, width: int) -> Page:
    """Open the page in a window of a width, and wait until its first picture is there."""
    page: Page = browser.new_page(viewport={"width": width, "height": 900})
    page.set_default_timeout(PATIENCE)
    page.goto(address, wait_until="commit")
    page.locator("#noise-view figure").first.wait_for()
    return page


def prepare(page: Page, name: str) -> None:
    """Show a tab with something on it."""
    open_tab(page, name)
    if name == "Sample":
        page.get_by_role("button", name="Draw").click()
        page.locator("#sample-state", has_text="steps in").wait_for()
    elif name == "Bits":
        page.locator("#bits-view figure").first.wait_for()
        page.get_by_role("button", name="How surprising is it?").click()
        page.locator("#bits-place", has_text="More surprising").wait_for()
    elif name == "Send":
        page.locator("#send-view figure").first.wait_for()
    elif name == "Restore":
        canvas = page.locator("#restore-canvas canvas").first
        canvas.wait_for()
        canvas.scroll_into_view_if_needed()
        time.sleep(1)
        box = canvas.bounding_box()
        assert box is not None
        middle = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
        page.mouse.move(middle[0] - 40, middle[1])
        page.mouse.down()
        for step in range(17):
            page.mouse.move(middle[0] - 40 + 5 * step, middle[1] + (step % 3) * 6)
        page.mouse.up()
        page.get_by_role("button", name="Restore", exact=True).click()
        page.locator("#restore-view", has_text="draw 4").wait_for()
    elif name == "Train":
        page.get_by_role("button", name="Start a new run").click()
        page.locator("#train-view img").nth(2).wait_for()  # loss, bound and samples
        page.get_by_role("button", name="Stop").last.click()
        page.locator("#train-state", has_text="not running").wait_for()
    elif name == "VAE":
        page.get_by_role("button", name="Show the map").click()
        page.locator("#vae-map img").wait_for()
    time.sleep(1)


def keep(page: Page, path: Path) -> None:
    """Write a picture of the whole page, in few colours so that the repository stays small."""
    shown = Image.open(BytesIO(page.screenshot(full_page=True))).convert("RGB")
    shown.quantize(COLOURS, dither=Image.Dither.NONE).save(path, optimize=True)


def main() -> None:
    """Time the page, and take its pictures."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.studio", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--pictures", type=Path, help="Folder for the pictures; none are taken by default.")
    options = parser.parse_args()
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder, served(Path(folder), MODEL) as studio, sync_playwright() as play:
        browser = play.chromium.launch(executable_path=chromium(), args=["--no-sandbox"])
        page = opened(browser, studio.address, WIDTHS[0])
        print(f"from the command to a page with a picture: {time.perf_counter() - began:.1f} s, browser included")
        shown = moves(page, "#noise-t", "#noise-view")
        print(f"t: median {statistics.median(shown):.0f} ms, slowest {max(shown):.0f} ms")
        open_tab(page, "Send")
        page.locator("#send-view figure").first.wait_for()
        shown = moves(page, "#send-bytes", "#send-view")
        print(f"bytes: median {statistics.median(shown):.0f} ms, slowest {max(shown):.0f} ms")
        page.close()
        for width in WIDTHS if options.pictures else ():
            for name in ("Noise", "Sample", "Bits", "Send", "Restore", "Train", "KL", "VAE"):
                page = opened(browser, studio.address, width)
                prepare(page, name)
                path = options.pictures / f"studio-{name.lower()}{'' if width == WIDTHS[0] else '-narrow'}.png"
                keep(page, path)
                print(path)
                page.close()
        browser.close()


if __name__ == "__main__":
    main()
