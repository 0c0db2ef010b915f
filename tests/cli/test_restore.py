"""`nelbo restore`: what is known comes back, what is written can be read, and every mistake has its sentence."""

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import nelbo
from nelbo.errors import ConfigurationError, ShapeError
from nelbo.restoration import posterior_mean
from nelbo.runs import Repair

LUMA = np.array([0.299, 0.587, 0.114])


def picture(path: str, shape: tuple[int, ...] = (8, 8, 3), seed: int = 0) -> np.ndarray:
    pixels = np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return pixels


def mask(path: str, shape: tuple[int, int] = (8, 8)) -> np.ndarray:
    """White, to be filled in, in the middle."""
    pixels = np.zeros(shape, np.uint8)
    pixels[2:6, 3:7] = 255
    Image.fromarray(pixels).save(path)
    return pixels > 0


@pytest.fixture
def refused(nelbo_cli, trained: Path):
    """`refused("x.png", "--mask", ...)` must fail with code 2 and one sentence, which is returned."""

    def call(image: str, *arguments: object, model: object = trained) -> str:
        outcome = nelbo_cli("restore", image, "-m", model, *arguments)
        lines = [line for line in outcome.err.splitlines() if line.startswith("error: ")]
        assert outcome.code == 2 and len(lines) == 1
        return lines[0]

    return call


class TestWhatIsKnownComesBack:
    @pytest.mark.parametrize(
        "how",
        [
            (),
            ("--method", "null-space"),
            ("--method", "null-space", "--sampler", "unipc"),
            ("--method", "repaint", "--jump", "2"),
        ],
    )
    @pytest.mark.parametrize("steps", [3, 10])
    def test_kept_pixels(self, nelbo_cli, trained: Path, how: tuple[str, ...], steps: int):
        image, hole = picture("x.png"), mask("mask.png")
        for out, more in (("out.png", ()), ("mean.png", ("--mean",))):
            done = nelbo_cli(
                *("restore", "x.png", "-m", trained, "--mask", "mask.png", "--steps", steps, "--num", 3),
                *("--out", out, *more, *how),
            )
            assert done.code == 0 and f"the restored image: {out}" in done.err
            restored = np.asarray(Image.open(out))
            assert np.array_equal(restored[~hole], image[~hole])
            assert not np.array_equal(restored[hole], image[hole])
        assert nelbo_cli("restore", "x.png", "-m", trained, "--mask", "mask.png", "--out", "x.npy", *how).code == 0
        assert np.array_equal(np.load("x.npy")[:, :, ~hole], np.broadcast_to(image[~hole].T, (4, 3, 48)))

    @pytest.mark.parametrize("how", [(), ("--sampler", "unipc", "--steps", 3), ("--sampler", "heun", "--steps", 2)])
    def test_means_of_squares(self, nelbo_cli, trained: Path, how: tuple[str, ...]):
        """Up to rounding, also close to black and to white, where many pixels are cut off."""
        small = np.linspace(0, 255, 48).round().astype(np.uint8).reshape(4, 4, 3)
        Image.fromarray(small).save("small.png")
        assert nelbo_cli("restore", "small.png", "-m", trained, "--upscale", 2, "--out", "large.npy", *how).code == 0
        large = np.load("large.npy").astype(float)
        means = large.reshape(4, 3, 4, 2, 4, 2).mean((3, 5))
        assert np.abs(means - small.transpose(2, 0, 1)).max() <= 0.51
        assert not (large == small.repeat(2, 0).repeat(2, 1).transpose(2, 0, 1)).all()

    @pytest.mark.parametrize("how", [(), ("--sampler", "unipc", "--steps", 3), ("--sampler", "heun", "--steps", 2)])
    def test_brightness(self, nelbo_cli, trained: Path, how: tuple[str, ...]):
        grey = np.linspace(0, 255, 64).round().astype(np.uint8).reshape(8, 8)
        Image.fromarray(grey).save("grey.png")
        assert nelbo_cli("restore", "grey.png", "-m", trained, "--colour", "--out", "colour.npy", *how).code == 0
        coloured = np.load("colour.npy").astype(float)
        assert np.abs(np.tensordot(LUMA, coloured, (0, 1)) - grey).max() <= 0.52
        assert (coloured[:, 0] != coloured[:, 2]).any()


class TestWhatIsWritten:
    def test_draws_and_their_spread(self, nelbo_cli, trained: Path):
        picture("x.png")
        done = nelbo_cli("restore", "x.png", "-m", trained, "--noise", 25, "--spread", "s.png", "--num", 2)
        assert done.code == 0 and "the draws and their spread: s.png" in done.err
        assert Image.open("restored.png").size == (8, 8)
        assert Image.open("s.png").size[0] > 400

    @pytest.mark.parametrize(
        "how", [("--strength", 0.5), ("--noise", 25), ("--noise", 25, "--sampler", "ddim", "--eta", 1)]
    )
    def test_a_seed_is_always_the_same_draw(self, nelbo_cli, trained: Path, how):
        picture("x.png")
        for out, more in (("a", ()), ("b", ("--batch-size", 1)), ("c", ("--seed", 1)), ("d", ("--num", 2))):
            assert nelbo_cli("restore", "x.png", "-m", trained, *how, "--out", f"{out}.npy", *more).code == 0
        a, b, c, d = (np.load(f"{name}.npy").astype(int) for name in "abcd")
        assert a.shape == (4, 3, 8, 8)
        assert np.abs(a - b).max() <= 1 and np.abs(a[:2] - d).max() <= 1  # a batch may round otherwise
        assert np.abs(a - c).max() > 5 and np.abs(a[0] - a[1]).max() > 5

    def test_grey_serves_a_model_in_colour(self, nelbo_cli, trained: Path):
        picture("grey.png", (8, 8))
        assert nelbo_cli("restore", "grey.png", "-m", trained, "--strength", 0.1).code == 0
        assert Image.open("restored.png").mode == "RGB"


class TestMistakes:
    @pytest.fixture(autouse=True)
    def files(self, nelbo_cli) -> None:
        picture("x.png")
        mask("mask.png")

    def test_nothing_that_was_given_is_lost(self, refused):
        for lost in ("x.png", "mask.png"):
            before = Path(lost).read_bytes()
            assert f"--out {lost} would overwrite" in refused("x.png", "--mask", "mask.png", "--out", lost)
            assert Path(lost).read_bytes() == before
        same = ("--num", 2, "--out", "same.png", "--spread", "same.png")
        assert "--out and --spread are both same.png" in refused("x.png", "--noise", 5, *same)
        assert "there is no file nope.png" in refused("nope.png", "--noise", 5)
        assert "--noise 1e+09 is above the" in refused("x.png", "--noise", 1e9)

    def test_not_exactly_one_damage(self, refused):
        assert "--colour or --strength; got none" in refused("x.png")
        assert "got --mask and --noise" in refused("x.png", "--mask", "mask.png", "--noise", 5)
        assert "got --upscale and --colour and --strength" in refused(
            "x.png", "--upscale", 2, "--colour", "--strength", 0.5
        )

    def test_images_that_do_not_fit(self, refused):
        picture("large.png", (9, 12, 3))
        picture("small.png", (4, 4, 3))
        assert "large.png is 12x9, and the model makes 8x8; crop or resize it" in refused("large.png", "--noise", 5)
        message = refused("x.png", "--upscale", 2)
        assert "x.png is 8x8, and the model makes 8x8, so for --upscale 2 the image is 4x4" in message
        assert "--upscale 3: the model's 8 x 8 pixels can be 2, 4, 8 times as many a side" in refused(
            "small.png", "--upscale", 3
        )
        assert "--upscale 1: the model's 8 x 8 pixels can be 2, 4, 8 times" in refused("x.png", "--upscale", 1)
        assert "x.png has its colours; a grey image is expected here" in refused("x.png", "--colour")
        picture("fashion.png", (28, 28, 3))
        picture("boot.png", (28, 28))
        message = refused("fashion.png", "--noise", 5, model="fashion-mnist")
        assert "is in colour, and the model is grey; a grey image is expected" in message
        assert "has no colour to give; leave --colour out" in refused("boot.png", "--colour", model="fashion-mnist")

    def test_files_that_are_no_image(self, refused, tmp_path: Path):
        (tmp_path / "letter.png").write_text("dear")
        assert "letter.png cannot be used: it is not a PNG" in refused("letter.png", "--noise", 5)
        assert "nowhere.png" in refused("nowhere.png", "--noise", 5)
        (tmp_path / "two").mkdir()
        picture("two/a.png")
        picture("two/b.png")
        assert "two holds several images; name one file" in refused("two", "--noise", 5)

    def test_masks_that_are_none(self, refused, tmp_path: Path):
        (tmp_path / "letter.png").write_text("dear")
        assert "letter.png cannot be used" in refused("x.png", "--mask", "letter.png")
        mask("large.png", (9, 12))
        assert "the mask large.png is 12x9, and the image 8x8" in refused("x.png", "--mask", "large.png")
        for level, words in ((0, "black all over: nothing is missing"), (255, "white all over: nothing is left")):
            Image.fromarray(np.full((8, 8), level, np.uint8)).save("flat.png")
            assert words in refused("x.png", "--mask", "flat.png")
        Image.fromarray(np.full((8, 8), 127, np.uint8)).save("grey.png")
        message = refused("x.png", "--mask", "grey.png")
        assert "grey.png has grey (127), and must be black (kept) and white (to be filled in) only" in message
        assert "the mask x.png has colours" in refused("x.png", "--mask", "x.png")

    def test_numbers_out_of_range(self, refused):
        for noise in (0, -3, "nan"):
            assert "--noise is a standard deviation in grey levels, above 0" in refused("x.png", "--noise", noise)
        assert "is above the" in refused("x.png", "--noise", 1e9)
        assert "--strength is a share of the chain" in refused("x.png", "--strength", 1.5)
        assert "--strength is a share of the chain" in refused("x.png", "--strength", 0)
        assert "change --steps" in refused("x.png", "--strength", 0.5, "--steps", 0)
        for damage in (("--mask", "mask.png"), ("--strength", 0.5), ("--noise", 5)):
            assert "number of steps must be within 1..10, got 11" in refused("x.png", *damage, "--steps", 11)
        assert "--jump must be at least 1" in refused("x.png", "--mask", "mask.png", "--jump", 0)
        assert "at most 3" in refused("x.png", "--mask", "mask.png", "--jump", 4, "--steps", 4)

    def test_what_does_not_go_together(self, refused):
        picture("small.png", (4, 4, 3))
        assert "--method repaint fills in what a --mask hides" in refused(
            "x.png", "--strength", 0.5, "--method", "repaint"
        )
        assert "leave it out with --upscale" in refused("small.png", "--upscale", 2, "--method", "repaint")
        assert "by no --method" in refused("x.png", "--noise", 5, "--method", "null-space")
        assert "of --method repaint" in refused("x.png", "--noise", 5, "--jump", 2)
        assert "are of --method repaint" in refused(
            "x.png", "--mask", "mask.png", "--method", "null-space", "--resamplings", 2
        )
        assert "method" in refused("x.png", "--mask", "mask.png", "--method", "magic")
        assert "sampler" in refused("x.png", "--noise", 5, "--sampler", "magic")
        message = refused("x.png", "--mask", "mask.png", "--method", "repaint", "--sampler", "heun")
        assert "leave --sampler out, or give --method null-space" in message
        message = refused("x.png", "--noise", 5, "--sampler", "heun")
        assert "--sampler heun draws no noise" in message and "ddim with --eta 1" in message
        assert "--eta means nothing" in refused("x.png", "--noise", 5, "--eta", 0.5)

    def test_where_it_cannot_be_written_is_said_before_the_work(self, refused):
        assert "--out x.txt must end in .png" in refused("x.png", "--noise", 5, "--out", "x.txt")
        assert "--spread shows how draws differ: give --num 2" in refused(
            "x.png", "--noise", 5, "--spread", "s.png", "--num", 1
        )
        assert "must end in one of .png, .pdf, .svg" in refused("x.png", "--noise", 5, "--spread", "s.gif")

    def test_other_models(self, refused, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setattr(nelbo.DiffusionRun, "levels", 17)
        assert "knows 17 levels, and pictures have 256" in refused("x.png", "--noise", 5)


class TestFromPython:
    """What the command line cannot come to."""

    @pytest.fixture
    def run(self, trained: Path) -> nelbo.DiffusionRun:
        run = nelbo.load(trained, device="cpu")
        assert isinstance(run, nelbo.DiffusionRun)
        return run

    def test_progress_and_the_posterior_mean(self, run: nelbo.DiffusionRun):
        heard: list[tuple[int, int]] = []
        image = torch.full((3, 8, 8), 100, dtype=torch.uint8)
        how: Repair = {"steps": 2, "num": 3, "batch_size": 2, "progress": lambda *numbers: heard.append(numbers)}
        restored = run.restore(image, noise=1e-3, **how)
        assert heard[-1] == (4, 4) and all(before <= after for before, after in itertools.pairwise(heard))
        assert restored.draws.shape == (3, 3, 8, 8) and restored.draws.dtype == torch.uint8
        assert float((restored.mean - 100).abs().max()) < 60 and restored.mean.shape == (3, 8, 8)
        hole = torch.zeros(8, 8, dtype=torch.bool)
        hole[0] = True
        heard.clear()
        run.restore(image, mask=hole, method="repaint", jump=1, resamplings=2, **{**how, "steps": 4})
        assert heard[-1] == (2 * 7, 2 * 7)

    def test_noise_is_in_grey_levels(self):
        """25 levels of 255 are 50/255 of data in [-1, 1]; the mean is E[x_0|y] there, in levels again."""
        run = nelbo.load("fashion-mnist", device="cpu")
        image = torch.randint(0, 256, run.shape, generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
        expected = posterior_mean(run.reverse(clip=True), (image / 127.5 - 1).unsqueeze(0), 50 / 255)[0]
        found = run.restore(image, noise=25.0, num=1, steps=1).mean
        torch.testing.assert_close(found, ((expected + 1) * 127.5).double(), atol=0.05, rtol=0)

    def test_mistakes(self, run: nelbo.DiffusionRun):
        image = torch.zeros(3, 8, 8, dtype=torch.uint8)
        with pytest.raises(ShapeError, match=r"must be 3 x 8 x 8 .* got 1 x 8 x 8"):
            run.restore(image[:1], noise=5.0)
        with pytest.raises(ShapeError, match=r"integer levels 0\.\.255"):
            run.restore(image.float(), noise=5.0)
        with pytest.raises(ShapeError, match=r"the mask must be bool \(8, 8\), .* got torch.uint8 \(3, 8, 8\)"):
            run.restore(image, mask=image)
        with pytest.raises(ConfigurationError, match="num must be at least 1, got 0"):
            run.restore(image, noise=5.0, num=0)
        with pytest.raises(ConfigurationError, match="--batch-size must be at least 1, got 0"):
            run.restore(image, noise=5.0, batch_size=0)
