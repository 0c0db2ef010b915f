"""`nelbo restore`: known pixels come back, files can be read, and each error is one sentence."""

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import nelbo
from nelbo.data import load_for_model
from nelbo.errors import ConfigurationError, DataError
from nelbo.restoration import posterior_mean

LUMA = np.array([0.299, 0.587, 0.114])


def picture(path: str, shape: tuple[int, ...] = (8, 8, 3), seed: int = 0) -> np.ndarray:
    pixels = np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return pixels


def mask(path: str, shape: tuple[int, int] = (8, 8)) -> np.ndarray:
    """Write a mask whose middle is white: to be filled in."""
    pixels = np.zeros(shape, np.uint8)
    pixels[2:6, 3:7] = 255
    Image.fromarray(pixels).save(path)
    return pixels > 0


@pytest.fixture
def refused(nelbo_cli, trained: Path):
    """`refused("x.png", "--mask", ...)` checks for exit code 2 and one sentence, and returns it."""

    def call(image: str, *arguments: object, model: object = trained) -> str:
        outcome = nelbo_cli("restore", image, "-m", model, *arguments)
        lines = [line for line in outcome.err.splitlines() if line.startswith("error: ")]
        assert outcome.code == 2 and len(lines) == 1
        return lines[0]

    return call


class TestKnownPixelsComeBack:
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
    def test_kept_pixels_come_back_exactly(self, nelbo_cli, trained: Path, how: tuple[str, ...], steps: int):
        image, hole = picture("x.png"), mask("mask.png")
        for out, more in (("out.png", ()), ("mean.png", ("--mean",))):
            done = nelbo_cli(
                *("restore", "x.png", "-m", trained, "--mask", "mask.png", "--steps", steps, "--num", 3),
                *("--out", out, *more, *how),
            )
            assert done.code == 0 and f"the restored image is in {out}" in done.err
            restored = np.asarray(Image.open(out))
            assert np.array_equal(restored[~hole], image[~hole])
            assert not np.array_equal(restored[hole], image[hole])
        assert nelbo_cli("restore", "x.png", "-m", trained, "--mask", "mask.png", "--out", "x.npy", *how).code == 0
        assert np.array_equal(np.load("x.npy")[:, :, ~hole], np.broadcast_to(image[~hole].T, (4, 3, 48)))

    @pytest.mark.parametrize("how", [(), ("--sampler", "unipc", "--steps", 3), ("--sampler", "heun", "--steps", 2)])
    def test_means_of_squares_come_back(self, nelbo_cli, trained: Path, how: tuple[str, ...]):
        """Up to rounding, also near black and white, where many pixels are clipped."""
        small = np.linspace(0, 255, 48).round().astype(np.uint8).reshape(4, 4, 3)
        Image.fromarray(small).save("small.png")
        assert nelbo_cli("restore", "small.png", "-m", trained, "--upscale", 2, "--out", "large.npy", *how).code == 0
        large = np.load("large.npy").astype(float)
        means = large.reshape(4, 3, 4, 2, 4, 2).mean((3, 5))
        assert np.abs(means - small.transpose(2, 0, 1)).max() <= 0.51
        assert not (large == small.repeat(2, 0).repeat(2, 1).transpose(2, 0, 1)).all()

    @pytest.mark.parametrize("how", [(), ("--sampler", "unipc", "--steps", 3), ("--sampler", "heun", "--steps", 2)])
    def test_brightness_comes_back(self, nelbo_cli, trained: Path, how: tuple[str, ...]):
        grey = np.linspace(0, 255, 64).round().astype(np.uint8).reshape(8, 8)
        Image.fromarray(grey).save("grey.png")
        assert nelbo_cli("restore", "grey.png", "-m", trained, "--colour", "--out", "colour.npy", *how).code == 0
        coloured = np.load("colour.npy").astype(float)
        assert np.abs(np.tensordot(LUMA, coloured, (0, 1)) - grey).max() <= 0.52
        assert (coloured[:, 0] != coloured[:, 2]).any()


class TestOutput:
    def test_spread_figure_is_written(self, nelbo_cli, trained: Path):
        picture("x.png")
        done = nelbo_cli("restore", "x.png", "-m", trained, "--noise", 25, "--spread", "s.png", "--num", 2)
        assert done.code == 0 and "the samples and their spread are in s.png" in done.err
        assert Image.open("restored.png").size == (8, 8)
        assert Image.open("s.png").size[0] > 400

    @pytest.mark.parametrize(
        "how", [("--strength", 0.5), ("--noise", 25), ("--noise", 25, "--sampler", "ddim", "--eta", 1)]
    )
    def test_seed_gives_the_same_draw(self, nelbo_cli, trained: Path, how):
        picture("x.png")
        for out, more in (("a", ()), ("b", ("--batch-size", 1)), ("c", ("--seed", 1)), ("d", ("--num", 2))):
            assert nelbo_cli("restore", "x.png", "-m", trained, *how, "--out", f"{out}.npy", *more).code == 0
        a, b, c, d = (np.load(f"{name}.npy").astype(int) for name in "abcd")
        assert a.shape == (4, 3, 8, 8)
        assert np.abs(a - b).max() <= 1 and np.abs(a[:2] - d).max() <= 1  # another batch size may round differently
        assert np.abs(a - c).max() > 5 and np.abs(a[0] - a[1]).max() > 5

    def test_colour_model_accepts_a_grey_image(self, nelbo_cli, trained: Path):
        picture("grey.png", (8, 8))
        assert nelbo_cli("restore", "grey.png", "-m", trained, "--strength", 0.1).code == 0
        assert Image.open("restored.png").mode == "RGB"


class TestOtherSizes:
    """Images that were not made for the model are converted as in training, and their masks with them."""

    def test_image_and_mask_are_cropped_and_resized_together(self, nelbo_cli, trained: Path):
        pixels = np.zeros((16, 24, 3), np.uint8)
        pixels[:, 4:20] = np.random.default_rng(0).integers(0, 256, (8, 8, 3)).repeat(2, 0).repeat(2, 1)
        hole = np.zeros((16, 24), np.uint8)
        hole[:8, 4:12], hole[:, :4] = 255, 255  # a quarter of the centre; the left border is cut off
        Image.fromarray(pixels).save("wide.png"), Image.fromarray(hole).save("hole.png")
        small, target = np.zeros((8, 8), bool), "x.npy"
        small[:4, :4] = True
        done = nelbo_cli("restore", "wide.png", "-m", trained, "--mask", "hole.png", "--num", 2, "--out", target)
        assert done.code == 0
        assert "wide.png: it is resized to 8x8 (shorter side fitted, centre cut out)" in done.err
        taken = load_for_model("wide.png", (3, 8, 8)).images.images([0])[0].numpy()
        assert np.array_equal(np.load(target)[:, :, ~small], np.broadcast_to(taken[:, ~small], (2, 3, 48)))

    def test_changes_are_named(self, nelbo_cli, trained: Path):
        picture("x.png")
        Image.fromarray((np.arange(64, dtype=np.uint8) * 4).reshape(8, 8)).save("soft.png")
        done = nelbo_cli("restore", "x.png", "-m", trained, "--mask", "soft.png")
        assert done.code == 0
        assert "the mask soft.png has 63 grey pixels; from 128 of 255 on they count as white (missing)" in done.err
        picture("large.png", (9, 12, 3))
        done = nelbo_cli("restore", "large.png", "-m", trained, "--noise", 5)
        assert done.code == 0
        assert "large.png: it is resized to 8x8 (shorter side fitted, centre cut out); --noise must state" in done.err
        done = nelbo_cli("restore", "large.png", "-m", trained, "--colour")
        assert done.code == 0 and "; it is converted to grey" in done.err
        Image.fromarray(np.full((8, 8, 4), 100, np.uint8), "RGBA").save("clear.png")
        done = nelbo_cli("restore", "clear.png", "-m", trained, "--strength", 0.2)
        assert done.code == 0 and "clear.png: its transparency became white" in done.err


class TestErrors:
    @pytest.fixture(autouse=True)
    def files(self, nelbo_cli) -> None:
        picture("x.png")
        mask("mask.png")

    def test_inputs_are_not_overwritten(self, refused):
        for lost in ("x.png", "mask.png"):
            before = Path(lost).read_bytes()
            assert f"--out {lost} would overwrite an input file" in refused(
                "x.png", "--mask", "mask.png", "--out", lost
            )
            assert Path(lost).read_bytes() == before
        picture("restored.png")
        assert "--out restored.png would overwrite an input file" in refused("restored.png", "--noise", 25)
        same = ("--num", 2, "--out", "same.png", "--spread", "same.png")
        assert "--out and --spread are both same.png" in refused("x.png", "--noise", 5, *same)
        assert "there is no file nope.png" in refused("nope.png", "--noise", 5)
        assert "--noise 1e+09 is above this model's largest noise" in refused("x.png", "--noise", 1e9)

    def test_exactly_one_damage_is_required(self, refused):
        assert "--colour or --strength; got none" in refused("x.png")
        assert "got --mask and --noise" in refused("x.png", "--mask", "mask.png", "--noise", 5)
        assert "got --upscale and --colour and --strength" in refused(
            "x.png", "--upscale", 2, "--colour", "--strength", 0.5
        )

    def test_wrong_image_sizes_and_modes_are_refused(self, refused):
        picture("large.png", (9, 12, 3))
        picture("small.png", (4, 4, 3))
        assert "large.png is 12x9, but the model's images are 8x8; crop or resize it" in refused(
            "large.png", "--noise", 5, "--no-resize"
        )
        message = refused("x.png", "--upscale", 2)
        assert "x.png is 8x8, but the model's images are 8x8, so for --upscale 2 the image must be 4x4" in message
        assert "and divide both sides of the model's images, 8 x 8, got 3; possible: 2, 4, 8." in refused(
            "small.png", "--upscale", 3
        )
        assert "and divide both sides of the model's images, 8 x 8, got 1; possible: 2, 4, 8." in refused(
            "x.png", "--upscale", 1
        )
        message = refused("x.png", "--colour", "--no-resize")
        assert "x.png is in colour, but a grey image is expected for --colour" in message
        picture("fashion.png", (28, 28, 3))
        picture("boot.png", (28, 28))
        message = refused("fashion.png", "--noise", 5, "--no-resize", model="fashion-mnist")
        assert "is in colour, but a grey image is expected because the model's images are grey" in message
        assert "images are grey and have no colours; remove --colour" in refused(
            "boot.png", "--colour", model="fashion-mnist"
        )

    def test_files_that_are_not_one_image_are_refused(self, refused, tmp_path: Path):
        (tmp_path / "letter.png").write_text("dear")
        assert "letter.png cannot be used: it is not a PNG" in refused("letter.png", "--noise", 5)
        assert "nowhere.png" in refused("nowhere.png", "--noise", 5)
        (tmp_path / "two").mkdir()
        picture("two/a.png")
        picture("two/b.png")
        assert "two holds several images; give a file of one image" in refused("two", "--noise", 5)

    def test_wrong_masks_are_refused(self, refused, tmp_path: Path):
        (tmp_path / "letter.png").write_text("dear")
        assert "letter.png cannot be used" in refused("x.png", "--mask", "letter.png")
        mask("large.png", (9, 12))
        message = refused("x.png", "--mask", "large.png")
        assert "the mask large.png is 12x9, but the model's images are 8x8; the image is 8x8; give the mask" in message
        assert "the mask large.png is 12x9" in refused("x.png", "--mask", "large.png", "--no-resize")
        for level, words in ((0, "the mask marks no pixel as missing"), (255, "the mask marks every pixel as missing")):
            Image.fromarray(np.full((8, 8), level, np.uint8)).save("flat.png")
            assert words in refused("x.png", "--mask", "flat.png")
        Image.fromarray(np.full((8, 8), 127, np.uint8)).save("grey.png")
        assert "the mask marks no pixel as missing" in refused("x.png", "--mask", "grey.png")
        Image.fromarray(np.full((8, 8, 2), (255, 0), np.uint8), "LA").save("clear.png")
        assert "the mask clear.png has transparent pixels" in refused("x.png", "--mask", "clear.png")
        assert "the mask x.png has colours" in refused("x.png", "--mask", "x.png")

    def test_numbers_out_of_range_are_refused(self, refused):
        for noise in (0, -3, "nan"):
            assert "--noise is a standard deviation in grey levels: it must be above 0" in refused(
                "x.png", "--noise", noise
            )
        assert "is above this model's largest noise" in refused("x.png", "--noise", 1e9)
        assert "--strength is a share of the chain" in refused("x.png", "--strength", 1.5)
        assert "--strength is a share of the chain" in refused("x.png", "--strength", 0)
        assert "--steps must be within 1..10, got 0" in refused("x.png", "--strength", 0.5, "--steps", 0)
        for damage in (("--mask", "mask.png"), ("--strength", 0.5), ("--noise", 5)):
            assert "--steps must be within 1..10, got 11" in refused("x.png", *damage, "--steps", 11)
        assert "--jump must be at least 1" in refused("x.png", "--mask", "mask.png", "--jump", 0)
        assert "--jump must be below the number of steps, 4, got 4" in refused(
            "x.png", "--mask", "mask.png", "--jump", 4, "--steps", 4
        )

    def test_options_that_exclude_each_other_are_refused(self, refused):
        picture("small.png", (4, 4, 3))
        assert "--strength does not support --method; remove --method" in refused(
            "x.png", "--strength", 0.5, "--method", "repaint"
        )
        assert "--upscale supports --method null-space only, got 'repaint'; remove --method" in refused(
            "small.png", "--upscale", 2, "--method", "repaint"
        )
        assert "--noise does not support --method; remove --method" in refused(
            "x.png", "--noise", 5, "--method", "null-space"
        )
        assert "--noise does not support --jump; remove --jump" in refused("x.png", "--noise", 5, "--jump", 2)
        assert "--resamplings can be used with --method repaint only" in refused(
            "x.png", "--mask", "mask.png", "--method", "null-space", "--resamplings", 2
        )
        assert "unknown method 'magic'" in refused("x.png", "--mask", "mask.png", "--method", "magic")
        assert "unknown sampler 'magic'" in refused("x.png", "--noise", 5, "--sampler", "magic")
        message = refused("x.png", "--mask", "mask.png", "--method", "repaint", "--sampler", "heun")
        assert "uses the ancestral sampler; remove --sampler, or set --method null-space" in message
        message = refused("x.png", "--noise", 5, "--sampler", "heun")
        assert "the sampler 'heun' draws no noise" in message and "--sampler ddim with --eta 1" in message
        assert "'ancestral' does not support --eta" in refused("x.png", "--noise", 5, "--eta", 0.5)

    def test_wrong_output_files_are_refused_early(self, refused):
        assert "--out x.txt must end in .png" in refused("x.png", "--noise", 5, "--out", "x.txt")
        assert "--spread shows how the draws differ; set --num 2" in refused(
            "x.png", "--noise", 5, "--spread", "s.png", "--num", 1
        )
        assert "must end in one of .png, .pdf, .svg" in refused("x.png", "--noise", 5, "--spread", "s.gif")

    def test_models_without_256_levels_are_refused(self, refused, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setattr(nelbo.DiffusionRun, "levels", 17)
        assert "has 17 levels, but pictures have 256" in refused("x.png", "--noise", 5)


class TestFromPython:
    """Behaviour that the command line cannot show."""

    @pytest.fixture
    def run(self, trained: Path) -> nelbo.DiffusionRun:
        run = nelbo.load(trained, device="cpu")
        assert isinstance(run, nelbo.DiffusionRun)
        return run

    def test_progress_counts_all_steps(self, run: nelbo.DiffusionRun):
        heard: list[tuple[int, int]] = []
        image = torch.full((3, 8, 8), 100, dtype=torch.uint8)
        how = {"steps": 2, "num": 3, "batch_size": 2, "progress": lambda *numbers: heard.append(numbers)}
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
        """25 of 255 levels are 50/255 in units of data; the mean is E[x_0|y] there, converted back to levels."""
        run = nelbo.load("fashion-mnist", device="cpu")
        image = torch.randint(0, 256, run.shape, generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
        expected = posterior_mean(run.reverse(clip=True), (image / 127.5 - 1).unsqueeze(0), 50 / 255)[0]
        found = run.restore(image, noise=25.0, num=1, steps=1).mean
        torch.testing.assert_close(found, ((expected + 1) * 127.5).double(), atol=0.05, rtol=0)

    def test_wrong_values_are_refused(self, run: nelbo.DiffusionRun):
        image = torch.zeros(3, 8, 8, dtype=torch.uint8)
        with pytest.raises(DataError, match="the damaged image is 9x8, but the model's images are 8x8; crop or resize"):
            run.restore(torch.zeros(3, 8, 9, dtype=torch.uint8), noise=5.0, resize=False)
        with pytest.raises(DataError, match=r"holds float32 from -1.0 to 0.0; expected levels as uint8"):
            run.restore(torch.linspace(-1, 0, 192).view(3, 8, 8), noise=5.0)
        with pytest.raises(
            DataError,
            match=r"the mask is a tensor of uint8 \(3, 8, 8\); expected bool .* true where pixels are missing\.$",
        ):
            run.restore(image, mask=image)
        with pytest.raises(ConfigurationError, match="num must be a whole number, at least 1, got 0"):
            run.restore(image, noise=5.0, num=0)
        with pytest.raises(ConfigurationError, match="batch_size must be a whole number, at least 1, got 0"):
            run.restore(image, noise=5.0, batch_size=0)
        with pytest.raises(ConfigurationError, match=r"unknown option 'nmu'; did you mean 'num'\?"):
            run.restore(image, noise=5.0, nmu=8)
