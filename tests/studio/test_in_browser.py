"""Each tab does its main job on the bundled model, in a browser: `make test-studio`."""

import re
import time

import numpy as np
import pytest
import torch
from PIL import Image

import nelbo
from nelbo.studio.bits import Account
from nelbo.studio.collection import Collection
from nelbo.studio.noise import look
from tests.studio.chromium import Watched, chromium, move, open_tab, served

pytestmark = pytest.mark.studio
MODEL = "fashion-mnist"
PATIENCE = 120_000  # milliseconds
RUNNING = re.compile("(?<!not )running: ")


@pytest.fixture(scope="module")
def studio(tmp_path_factory):
    with served(tmp_path_factory.mktemp("studio"), MODEL) as found:
        yield found


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    path = chromium()
    with sync_playwright() as play:
        found = play.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield found
        found.close()


@pytest.fixture
def page(browser, studio):
    """A new page of a new visitor; at the end, nothing went wrong on it."""
    found, watched = browser.new_page(viewport={"width": 1280, "height": 1000}), Watched()
    found.set_default_timeout(PATIENCE)
    watched.watch(found)
    found.goto(studio.address, wait_until="commit")
    found.locator("#noise-view figure").first.wait_for()
    yield found
    found.close()
    assert watched.errors == [] and watched.foreign == []


@pytest.fixture(scope="module")
def run():
    return nelbo.load(MODEL, device="cpu")


@pytest.fixture(scope="module")
def images():
    return Collection([MODEL], device="cpu").examples(MODEL).images


def test_noise(page, run, images):
    for t in (600, 40):
        move(page, "#noise-t", t)
        page.locator("#noise-view", has_text=f"{t} of 1000").wait_for()
        found = look(run, images[0], t)
        shown = page.locator("#noise-view").inner_text()
        assert f"{found.log_snr:.2f}" in shown and f"{found.bits:.3g} bits/dim" in shown
    page.locator(".thumbnails button").nth(4).click()
    found = look(run, images[4], 250)
    page.locator("#noise-view", has_text=f"{found.bits:.3g} bits/dim").wait_for()


def test_chosen_image_is_shown_on_the_next_tab(page, run, images):
    page.locator(".thumbnails button").nth(4).click()
    page.locator("#noise-view", has_text=f"{look(run, images[4], 250).bits:.3g} bits/dim").wait_for()
    open_tab(page, "Bits")
    page.locator("#bits-view", has_text=f"{Account.of(run, images[4]).report.total:.4f} bits/dim").wait_for()
    page.locator(".thumbnails button:visible").nth(2).click()
    page.locator("#bits-view", has_text=f"{Account.of(run, images[2]).report.total:.4f} bits/dim").wait_for()
    open_tab(page, "Noise")
    page.locator("#noise-view", has_text=f"{look(run, images[2], 250).bits:.3g} bits/dim").wait_for()


def test_sample(page, run, tmp_path):
    open_tab(page, "Sample")
    page.get_by_label("images (1 to 64)").fill("4")
    page.get_by_role("button", name="Draw").click()
    page.locator("#sample-state", has_text="16 steps in").wait_for()
    with page.expect_download() as download:
        page.get_by_role("button", name="Download PNG").click()
    download.value.save_as(tmp_path / "drawn.png")
    from nelbo.plots import picture_of

    expected = np.asarray(picture_of(run.sample(4, seed=0), run.levels)).astype(int)
    drawn = np.asarray(Image.open(tmp_path / "drawn.png")).astype(int)
    assert drawn.shape == expected.shape and np.abs(drawn - expected).mean() < 1  # threads round differently


def test_sample_with_two_settings_and_a_mistake(page):
    open_tab(page, "Sample")
    page.get_by_label("images (1 to 64)").fill("2")
    page.get_by_label("compare with a second setting").check()
    page.get_by_role("button", name="Draw").click()
    page.locator("#sample-state", has_text="32 steps in").wait_for()
    assert page.locator("#sample-view figcaption", has_text="dpm-solver++sde, 16 steps").count() == 2
    for name, value, answer in (
        ("steps", "5000", "1000"),
        ("steps", "many", "expected a whole number, or nothing for the default"),
        ("images (1 to 64)", "", "enter a whole number within 1..64"),
    ):
        page.get_by_label(name).first.fill(value)
        page.get_by_role("button", name="Draw").click()
        page.locator(".toast-body", has_text=answer).first.wait_for()
        page.get_by_label(name).first.fill("16")


def test_bits(page, run, images):
    open_tab(page, "Bits")
    account = Account.of(run, images[0])
    page.locator("#bits-view", has_text=f"{account.score:.3f}").wait_for()
    page.get_by_role("button", name="How surprising is it?").click()
    page.locator("#bits-place", has_text="More surprising than").wait_for()
    page.get_by_role("button", name="Put the ten images in order").click()
    page.locator("#bits-order", has_text="most surprising image comes first").wait_for()
    shown = [float(text.split()[0]) for text in page.locator("#bits-order figcaption").all_inner_texts()]
    expected = sorted((float(run.score(image[None])[0]) for image in images), reverse=True)
    assert shown == pytest.approx(expected, abs=2e-3)


def test_send(page, run, images, tmp_path):
    open_tab(page, "Send")
    page.locator("#send-view figure").first.wait_for()
    with page.expect_download() as download:
        page.get_by_role("button", name="Download the .nelbo file").click()
    download.value.save_as(tmp_path / "image.nelbo")
    content = (tmp_path / "image.nelbo").read_bytes()
    assert torch.equal(run.decompress(content).image, images[0])
    move(page, "#send-bytes", len(content))
    page.locator("#send-view", has_text="exact").wait_for()
    move(page, "#send-bytes", len(content) // 2)
    page.locator("#send-view", has_text="The next picture of nelbo needs").wait_for()
    used = int(re.search(r"([\d,]+) bytes", page.locator("#send-view figcaption").nth(1).inner_text())[1])
    assert used <= len(content) // 2
    page.get_by_text("Open a .nelbo file").click()
    page.locator("#send-file input[type=file]").set_input_files(tmp_path / "image.nelbo")
    page.locator("#send-decoded", has_text="lossless").wait_for()


def test_send_says_that_a_file_is_damaged(page, tmp_path):
    open_tab(page, "Send")
    page.locator("#send-view figure").first.wait_for()
    (tmp_path / "broken.nelbo").write_bytes(b"no file of nelbo")
    page.get_by_text("Open a .nelbo file").click()
    page.locator("#send-file input[type=file]").set_input_files(tmp_path / "broken.nelbo")
    page.locator(".toast-body", has_text="not a .nelbo file").wait_for()


def test_restore(page):
    open_tab(page, "Restore")
    page.get_by_role("button", name="Restore", exact=True).click()
    page.locator(".toast-body", has_text="nothing is painted").wait_for()
    canvas = page.locator("#restore-canvas canvas").first
    canvas.wait_for()
    time.sleep(1)  # until the picture is on the canvas
    box = canvas.bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x - 40, y)
    page.mouse.down()
    for step in range(9):
        page.mouse.move(x - 40 + 10 * step, y + 2 * step)
    page.mouse.up()
    page.get_by_role("button", name="Restore", exact=True).click()
    page.locator("#restore-view", has_text="draw 4").wait_for()


def test_train(page):
    open_tab(page, "Train")
    page.get_by_label("minutes").fill("5")
    page.get_by_role("button", name="Start a new run").click()
    page.locator("#train-state", has_text=RUNNING).wait_for()
    page.locator("#train-view img").first.wait_for()
    page.get_by_role("button", name="Stop").last.click()
    page.locator("#train-state", has_text="not running").wait_for()
    page.get_by_role("button", name="Resume").click()
    page.locator("#train-state", has_text=RUNNING).wait_for()
    page.get_by_role("button", name="Stop").last.click()
    page.locator("#train-state", has_text="not running").wait_for()


def test_kl(page):
    from nelbo.studio.counts import START, compare

    open_tab(page, "KL")
    page.locator("#kl-view table").wait_for()
    changed = [float(count) for count in START]
    changed[0] = 12.0
    page.get_by_label("count of 0").first.evaluate(
        "(e) => { e.value = 12; e.dispatchEvent(new Event('input', { bubbles: true })); }"
    )
    facts = dict(compare(changed)[1])
    page.locator("#kl-view", has_text=facts["KL(observed || uniform)"].split(",")[0]).wait_for()


def test_vae(page):
    open_tab(page, "VAE")
    page.get_by_role("button", name="Show the map").click()
    page.locator("#vae-map img").wait_for()
    page.locator("#vae-point", has_text="z at (0, 0)").wait_for()


def test_two_visitors_at_once(browser, studio):
    pages = [browser.new_page() for _ in range(2)]
    for page in pages:
        page.set_default_timeout(PATIENCE)
        page.goto(studio.address, wait_until="commit")
        page.locator("#noise-view figure").first.wait_for()
        open_tab(page, "Sample")
        page.get_by_role("button", name="Draw").click()
    for page in pages:
        page.locator("#sample-state", has_text="16 steps in").wait_for()
        page.close()


def test_closed_page_leaves_nothing_running(browser, studio):
    page = browser.new_page()
    page.set_default_timeout(PATIENCE)
    page.goto(studio.address, wait_until="commit")
    page.locator("#noise-view figure").first.wait_for()
    open_tab(page, "Sample")
    page.get_by_label("steps").first.fill("1000")
    page.get_by_role("button", name="Draw").click()
    page.locator("#sample-state", has_text="step 3").wait_for()
    page.close()
    time.sleep(5)
    before = studio.cpu_seconds()
    time.sleep(3)
    assert studio.cpu_seconds() - before < 1
