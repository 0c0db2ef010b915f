"""Every mistake of the user gives one sentence that says what to change, and exit code 2."""

import shutil
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

import nelbo
from tests.cli.conftest import TINY


@pytest.fixture
def refused(nelbo_cli):
    """`refused("train", ...)` checks for exit code 2 and one sentence, and returns the sentence."""

    def call(*arguments):
        outcome = nelbo_cli(*arguments)
        assert outcome.code == 2
        lines = [line for line in outcome.err.splitlines() if line.startswith("error: ")]
        assert len(lines) == 1
        return lines[0]

    return call


class TestData:
    def test_missing_folder(self, refused):
        assert "nowhere" in refused("train", "--data", "nowhere", "--out", "run")

    def test_empty_folder(self, refused, tmp_path):
        (tmp_path / "empty").mkdir()
        for command in (("train", "--out", "run", "--data"), ("data",)):
            assert "holds no images: no file in it or its sub-folders ends in .png" in refused(*command, "empty")
        assert not (tmp_path / "run").exists()

    def test_one_corrupt_image_among_good_ones(self, nelbo_cli, refused, pictures):
        place = pictures(num=8)
        picture = Image.open(next(place.iterdir())).resize((64, 64))
        picture.save(place / "bad.jpg")
        (place / "bad.jpg").write_bytes((place / "bad.jpg").read_bytes()[:300])
        message = refused("train", "--data", place, "--out", "run", "--on-reject", "stop", *TINY)
        assert "1 file cannot be used" in message
        assert "bad.jpg" in message
        assert "--on-reject skip" in message
        resumed = nelbo_cli("train", "--data", place, "--out", "run", *TINY)
        assert resumed.code == 0
        assert "bad.jpg" in resumed.err
        assert "7 training images, 1 held out" in resumed.err
        shown = nelbo_cli("data", place)
        assert shown.code == 0
        assert "bad.jpg" in shown.out

    def test_text_file_named_png(self, nelbo_cli, refused, pictures, tmp_path):
        (tmp_path / "texts").mkdir()
        (tmp_path / "texts" / "letter.png").write_text("dear")
        message = refused("train", "--data", "texts", "--out", "run")
        assert "its only image cannot be used" in message
        assert "letter.png: it is not a PNG, JPEG, WebP, BMP or TIFF image" in message
        assert "letter.png" in nelbo_cli("data", "texts").out

    def test_mixed_sizes(self, nelbo_cli, refused, pictures):
        pictures("mixed", num=3, size=(8, 8))
        pictures("mixed/more", num=2, size=(10, 9))
        message = refused("train", "--data", "mixed", "--out", "run")
        assert "images of 2 sizes: 8x8 (3), 10x9 (2); give them one size, such as --size 64" in message
        assert nelbo_cli("train", "--data", "mixed", "--size", "8", "--out", "run", *TINY).code == 0

    @pytest.mark.slow
    def test_large_images_without_a_size(self, nelbo_cli, refused, pictures, tmp_path):
        pictures("large", num=2, size=(400, 300))
        np.save(tmp_path / "large.npy", np.zeros((2, 300, 400, 3), dtype=np.uint8))
        for data in ("large", "large.npy"):
            message = refused("train", "--data", data, "--out", "run")
            assert "is 400x300; without --size, a side may have at most 256 pixels" in message
            assert "such as --size 64" in message
            assert not (tmp_path / "run").exists()
        assert nelbo_cli("data", "large").code == 0
        assert nelbo_cli("train", "--data", "large", "--size", "8", "--out", "run", *TINY).code == 0
        rectangle = ("train", "--data", "large", "--size", "12x8", "--out", "rectangle", *TINY)
        assert nelbo_cli(*rectangle).code == 0
        assert nelbo.load("rectangle").shape == (3, 8, 12)
        assert "resuming from step" in nelbo_cli(*rectangle).err
        assert nelbo_cli("evaluate", "run").code == 0

    def test_grey_images_of_16_bits_train(self, nelbo_cli, tmp_path):
        (tmp_path / "deep").mkdir()
        for i in range(4):
            Image.fromarray(np.full((8, 8), 9000 * i, dtype=np.uint16)).save(tmp_path / "deep" / f"{i}.png")
        trained = nelbo_cli("train", "--data", "deep", "--out", "run", *TINY)
        assert trained.code == 0
        assert "1 x 8 x 8 (C x H x W), 256 levels" in trained.err

    def test_images_of_one_pixel_train(self, nelbo_cli, pictures):
        place = pictures(num=5, size=(1, 1))
        trained = nelbo_cli("train", "--data", place, "--out", "run", *TINY)
        assert trained.code == 0
        assert "3 x 1 x 1" in trained.err

    def test_path_with_brackets_is_shown_literally(self, refused):
        assert "photos[/old] :smile:" in refused("train", "--data", "photos[/old] :smile:", "--out", "run")


class TestRun:
    @pytest.fixture
    def copy(self, trained, tmp_path):
        return shutil.copytree(trained, tmp_path / "copy")

    @pytest.mark.parametrize("command", [("sample",), ("evaluate",), ("score", "digits", "-m")])
    def test_missing_run(self, refused, command):
        assert "no run folder or bundled model 'nowhere'" in refused(*command, "nowhere")

    def test_run_without_weights(self, refused, copy):
        (copy / "model.safetensors").unlink()
        assert "model.safetensors is missing; expected the weights that training saves" in refused("sample", copy)

    def test_truncated_weights(self, refused, copy):
        path = copy / "model.safetensors"
        path.write_bytes(path.read_bytes()[:5000])
        assert "model.safetensors is damaged or cut short (5000 bytes" in refused("evaluate", copy)

    def test_truncated_state(self, refused, copy):
        path = copy / "state.safetensors"
        path.write_bytes(path.read_bytes()[:5000])
        assert "state.safetensors is damaged or cut short" in refused("train", "--out", copy, "--steps", 9)

    @pytest.mark.parametrize(
        "command",
        [
            ("evaluate", "{run}", "--data", "{data}"),
            ("evaluate", "{run}", "--data", "{data}", "--forms"),
            ("score", "{data}", "-m", "{run}"),
            ("plot", "forward", "{run}", "--data", "{data}"),
        ],
    )
    def test_images_of_other_levels(self, refused, trained, tmp_path, command):
        images = np.zeros((2, 8, 8, 3), dtype=np.uint8)
        np.savez(tmp_path / "coarse.npz", images=images, levels=16)
        message = refused(*(part.format(run=trained, data="coarse.npz") for part in command))
        assert "coarse has 16 levels and the model was trained on 256: their bits cannot be compared" in message

    def test_other_sizes_are_converted_unless_refused(self, nelbo_cli, refused, trained, tmp_path):
        np.save(tmp_path / "tall.npy", np.zeros((2, 9, 8, 3), dtype=np.uint8))
        for command in (("evaluate", trained, "--data", "tall.npy"), ("score", "tall.npy", "-m", trained)):
            message = refused(*command, "--no-resize")
            assert "the images are 3 x 9 x 8" in message
            assert "leave out --no-resize" in message
            done = nelbo_cli(*command)
            assert done.code == 0 and "2 of 2 images resized to 8x8 (shorter side fitted, centre cut out)" in done.err

    def test_no_resize_needs_data(self, refused, trained):
        message = refused("evaluate", trained, "--no-resize")
        assert "--no-resize leaves images of --data out; give --data too." in message

    def test_resuming_with_another_configuration(self, refused, copy, trained):
        message = refused(
            "train", "--data", trained.parent / "pictures", "--out", copy, *TINY, "--learning-rate", "0.5", "--flip"
        )
        assert "--flip: False stored, True given; --learning-rate: 0.002 stored, 0.5 given)" in message

    def test_training_needs_data_or_a_run(self, refused):
        assert "set --data to the images to train on" in refused("train", "--out", "run")
        assert "give --data as a name, a path or images, or leave out --size" in refused(
            "train", "--out", "run", "--size", 8
        )

    def test_file_in_place_of_the_run_folder(self, refused, tmp_path):
        (tmp_path / "run").write_text("")
        assert "run is a file; --out needs a folder" in refused("train", "--data", "digits", "--out", "run", *TINY)

    def test_full_disk(self, refused, pictures, tmp_path):
        disk = tmp_path / "disk"
        disk.mkdir()
        mount = ["mount", "-t", "tmpfs", "-o", "size=48k", "tmpfs", str(disk)]
        try:
            subprocess.run(mount, check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError) as error:
            pytest.skip(f"a small file system cannot be mounted here: {error}")
        try:
            message = refused("train", "--data", pictures(), "--out", disk / "run", *TINY)
            assert "could not be written: the disk is full; free space or choose another folder with --out" in message
            assert not list(disk.rglob(".*.part"))
        finally:
            subprocess.run(["umount", "-l", str(disk)], check=True)


class TestOptions:
    def test_tensorboard_is_not_installed(self, refused, pictures, monkeypatch):
        monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
        message = refused("train", "--data", pictures(), "--out", "run", *TINY, "--tensorboard")
        assert "--tensorboard needs the package tensorboard; install it by `pip install nelbo[tensorboard]`" in message

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["--preset", "fasion-mnist"], "unknown preset 'fasion-mnist'; did you mean 'fashion-mnist'?"),
            (["--learning-rate", "nan"], "--learning-rate must be a finite number above 0, got nan."),
            (["--learning-rate", "-1"], "--learning-rate must be a finite number above 0, got -1.0."),
            (["--steps", "-5"], "--steps must be a finite number above 0, got -5."),
            (["--minutes", "0"], "--minutes must be a finite number above 0, got 0.0."),
            (["--minutes", "inf"], "--minutes must be a finite number above 0, got inf."),
            (["--batch-size", "0"], "--batch-size must be a finite number above 0, got 0."),
            (["--workers", "-1"], "--workers must be 0 or more, got -1."),
            (["--precision", "fp16"], "--precision must be auto, bf16 or fp32, got 'fp16'."),
            (["--mode", "CMYK"], "--mode is 'CMYK'; expected L (grey) or RGB"),
            (["--size", "0"], "--size is '0'; expected a side in pixels, at least 1, such as 64, or WIDTHxHEIGHT"),
            (["--held-out", "1.5"], "--held-out is 1.5"),
            (["--on-reject", "weep"], "--on-reject is 'weep'; expected skip or stop"),
            (["--set", "network.bas=3"], "unknown setting (network.bas) 'bas'; did you mean 'base'?"),
            (["--set", "network.base"], "--set 'network.base' is not of the form NAME=VALUE"),
            (["--set", "network.base=wide"], "the setting network.base is 'wide'; expected a whole number."),
            (["--set", "network.base=7"], "`base` is 7, but must be an even number"),
        ],
    )
    def test_training_options(self, refused, pictures, tmp_path, arguments, message):
        assert message in refused("train", "--data", pictures(), "--out", "run", *arguments)
        assert not (tmp_path / "run").exists()

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["--steps", "11"], "the number of steps must be a whole number within 1..10, got 11; change --steps."),
            (["--sampler", "ancestrel"], "unknown sampler 'ancestrel'; did you mean 'ancestral'?"),
            (["--variance", "nul"], "unknown variance of this model 'nul'"),
            (["--out", "samples.jpg"], "--out samples.jpg must end in .png, .webp or .npy, or be a folder."),
            (["--label", "7"], "unknown class '7'; choose from class-0, class-1."),
            (["--device", "toaster"], "--device toaster cannot be used here"),
        ],
    )
    def test_sampling_options(self, refused, trained, arguments, message):
        assert message in refused("sample", trained, "--num", "1", *arguments)

    @pytest.mark.parametrize(
        "arguments",
        [
            ["sample", "run", "--num", "0"],
            ["sample", "run", "--batch-size", "0"],
            ["evaluate", "run", "--num", "-1"],
            ["evaluate", "run", "--steps-per-image", "-1"],
            ["score", "x", "-m", "run", "--steps-per-image", "-1"],
            ["data", "x", "--workers", "-1"],
            ["train"],
            ["train", "--out", "run", "--steps", "many"],
            ["tarin"],
            ["score", "digits"],
        ],
    )
    def test_usage_errors(self, nelbo_cli, arguments):
        outcome = nelbo_cli(*arguments)
        assert outcome.code == 2
        assert "Error" in outcome.err
        assert outcome.out == ""
