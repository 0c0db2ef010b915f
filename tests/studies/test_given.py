"""Training on images that the caller has in memory; the folder says so, and nothing reads them again by itself."""

import json
import warnings

import numpy as np
import pytest
import torch
from PIL import Image

import nelbo
from nelbo.data import ArrayDataset, DataWarning, FolderDataset, Split, fingerprint, load_data
from nelbo.errors import ConfigurationError, DataError, NelboError, RunError
from nelbo.randomness import SeedWarning
from nelbo.runs.folder import why_not_calibrated
from nelbo.studies import DataRequest, Listener, data_of, held_out_part
from tests.conftest import write_pictures
from tests.data.png_files import sixteen_bit_png

TINY = {
    "schedule.num_steps": 8,
    "parameterization": "noise",
    "loss": "simple",
    "decoder.kind": "gaussian",
    "network.base": 8,
    "network.groups": 4,
    "network.multipliers": (1, 2),
    "network.blocks": 1,
    "network.fourier": (),
    "network.slopes": (),
    "training.batch_size": 4,
    "training.precision": "fp32",
}
GREY = np.random.default_rng(0).integers(0, 256, (24, 8, 8), dtype=np.uint8)


def train(images, out, **how):
    return nelbo.train(images, out, **{"steps": 2, "pictures": False, "overrides": TINY, **how})


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A run trained on an array."""
    torch.set_num_threads(1)
    return train(GREY, tmp_path_factory.mktemp("given") / "run").folder


def test_an_array_equals_its_file(folder, tmp_path):
    np.save(tmp_path / "grey.npy", GREY)
    by_name = train(tmp_path / "grey.npy", tmp_path / "run")
    weights = nelbo.load(folder).network.state_dict()
    assert all(torch.equal(weight, weights[name]) for name, weight in by_name.network.state_dict().items())


def test_the_folder_describes_the_images(folder):
    data = json.loads((folder / "config.json").read_text())["data"]
    assert data["spec"] == f"memory:{fingerprint(load_data(GREY))}"
    assert (data["shape"], data["levels"], data["num_train"], data["num_held_out"]) == ([1, 8, 8], 256, 23, 1)
    assert "given in memory: 23 training images, 1 held out" in repr(nelbo.load(folder))


def test_the_same_images_resume_and_others_are_refused(folder, tmp_path):
    out = tmp_path / "run"
    train(GREY, out)
    heard = []
    train(GREY.copy(), out, steps=3, listener=Listener(on_step=lambda step: heard.append(step.step)))
    assert heard == [3]
    resumed = nelbo.train(GREY, out, steps=4, pictures=False)  # the recipe is that of the run
    assert resumed.config.recipe.network.base == 8
    with pytest.raises(RunError, match=r"network\.base: 8 stored, 12 given"):
        nelbo.train(GREY, out, steps=5, overrides={"network.base": 12})
    other = GREY.copy()
    other[5, 0, 0] ^= 1
    with pytest.raises(RunError, match=r"data: 'memory:.*' stored, 'memory:.*' given"):
        train(other, out, steps=4)


def test_reading_them_again_is_refused_with_what_to_pass(folder):
    run = nelbo.load(folder)
    for read in (data_of, held_out_part):
        with pytest.raises(
            DataError, match=r"given to `nelbo.train` in memory and are not stored; give them again: set d"
        ):
            read(run)
    with pytest.raises(RunError, match=r"resume it in Python with the same images: `nelbo\.train\(images, '.*run'\)`"):
        nelbo.train(None, folder, steps=9)
    assert "`nelbo.train(images, 'x')`" in why_not_calibrated("x", run.config.data)


def test_every_kind_of_list(tmp_path):
    write_pictures(tmp_path / "pictures", 4, size=(10, 12))
    paths = sorted((tmp_path / "pictures").glob("*.png"))
    images = [paths[0], str(paths[1]), Image.open(paths[2]), np.asarray(Image.open(paths[3]))]
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # that of a Pillow image is a read-only array
        split = load_data(images, size=(6, 8), held_out=1)
    assert (len(split.train), len(split.test), split.train.shape) == (3, 1, (3, 6, 8))
    expected = nelbo.load_data(tmp_path / "pictures", size=(6, 8), held_out=1)
    assert torch.equal(split.train.images(range(3)), expected.train.images(range(3)))
    assert load_data([GREY[0], images[0]], size=8).train.shape == (3, 8, 8)  # colour, if one has
    assert load_data(images, size=8, mode="L").train.shape == (1, 8, 8)
    with pytest.raises(DataError, match=r"the images have 2 sizes \(8x8, 10x12\); set size to resize and crop them"):
        load_data([GREY[0], images[0]])


def test_sets_and_splits_are_used_as_they_are():
    digits = nelbo.load_data("digits")
    again = load_data(digits.train)
    assert len(again.train) + len(again.test) == 1500 and again.test.class_names == digits.train.class_names
    kept = load_data(digits)
    assert len(kept.train) == 1500 and torch.equal(kept.test.images([0]), digits.test.images([0]))
    assert load_data(digits.train, held_out=0.1, seed=1).train.class_names == digits.train.class_names
    with pytest.raises(ConfigurationError, match=r"held_out is 0\.1, but digits has its own held-out part of 297"):
        load_data(digits, held_out=0.1)


VALUES = np.random.default_rng(1).integers(0, 4096, (4, 8, 8)).astype(np.uint16)
VALUES[0, 0, :2] = 0, 4095


def mapped(low: int, high: int) -> torch.Tensor:
    levels = np.floor((VALUES.clip(low, high).astype(float) - low) * 255 / (high - low) + 0.5)
    return torch.from_numpy(levels.astype(np.uint8))[:, None]


def whole(split: Split) -> torch.Tensor:
    return split.train.images(range(len(split.train)))


def test_deep_images_are_mapped_as_from_a_folder(tmp_path):
    for number, values in enumerate(VALUES):
        Image.fromarray(values).save(tmp_path / f"{number}.tif")
    listed = [tmp_path / "0.tif", str(tmp_path / "1.tif"), Image.open(tmp_path / "2.tif"), Image.fromarray(VALUES[3])]
    note = "4 images have more than 8 bits, with values 0 to 4095; 0..4095 became 0..255; set another range by "
    with pytest.warns(DataWarning, match=note):
        split = load_data(listed, held_out=0)
    assert torch.equal(whole(split), mapped(0, 4095)) and split.limits == (0, 4095)
    with pytest.warns(DataWarning, match=r"or the range of their depth, became 0\.\.255"):
        split = load_data(listed, held_out=0, range="full")
    assert whole(split).max() == 16 and split.limits is None
    for images in (VALUES, torch.from_numpy(VALUES.astype(np.int64)), [*listed[:3], VALUES[3]]):
        with pytest.warns(DataWarning, match=r"100\.\.3000 became 0\.\.255"):
            split = load_data(images, held_out=0, range="100,3000")
        assert torch.equal(whole(split), mapped(100, 3000)) and split.limits == (100, 3000)


def test_frames_and_pages_of_a_list_are_read_as_from_a_folder(tmp_path):
    pages = [Image.fromarray(image) for image in GREY[:3]]
    for name in ("moving.png", "stack.tif"):
        pages[0].save(tmp_path / name, save_all=True, append_images=pages[1:])
    for moving in (tmp_path / "moving.png", Image.open(tmp_path / "moving.png")):
        with pytest.warns(DataWarning, match="the list: 2 files are animations, of which only the first frame is read"):
            assert len(whole(load_data([moving, moving], held_out=0))) == 2
    stack, expected = Image.open(tmp_path / "stack.tif"), torch.from_numpy(GREY[:3])[:, None]
    with warnings.catch_warnings(action="error"):
        for images in (stack, [stack], tmp_path / "stack.tif"):
            assert torch.equal(whole(load_data(images, held_out=0)), expected)
        assert len(whole(load_data([GREY[0], stack], held_out=0))) == 4
    deep = [Image.fromarray(VALUES[0]), pages[0]]
    deep[0].save(tmp_path / "deep.tif", save_all=True, append_images=deep[1:])
    with pytest.warns(DataWarning, match=r"the list: 1 image has more than 8 bits.* 0\.\.4095 became 0\.\.255"):
        found = whole(load_data(Image.open(tmp_path / "deep.tif"), held_out=0))
    assert torch.equal(found, torch.cat([mapped(0, 4095)[:1], expected[:1]]))


def test_images_of_a_list_have_the_same_levels():
    with (
        pytest.warns(DataWarning, match="two levels"),
        pytest.raises(DataError, match="the images have 2 and 256 levels"),
    ):
        load_data([GREY[0] > 9, GREY[1]])


def test_a_run_trained_on_a_range_of_uint8_keeps_it(tmp_path):
    np.save(tmp_path / "low.npy", low := GREY % 17)
    with pytest.warns(DataWarning, match=r"uint8 from 0 to 16; 0\.\.16 became 0\.\.255"):
        run = train(low, tmp_path / "run", range="0,16")
    assert run.config.data.range == (0, 16)
    with pytest.warns(DataWarning, match=r"0\.\.16 became 0\.\.255"):
        assert torch.equal(run.score(tmp_path / "low.npy"), run.score(low.astype(int)))


def test_deep_colours_are_read_from_paths_only(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(sixteen_bit_png(VALUES[:3].transpose(1, 2, 0)))
    with pytest.warns(DataWarning, match=r"0\.\.4095 became 0\.\.255"):
        found = whole(load_data([path], held_out=0))
    assert torch.equal(found[0], mapped(0, 4095)[:3, 0])
    with pytest.raises(DataError, match="16 bits per colour, of which Pillow gives only the upper 8; give the path"):
        load_data([Image.open(path)], held_out=0)


def test_the_range_of_a_read_set_is_kept(tmp_path):
    for number, values in enumerate(VALUES):
        Image.fromarray(values).save(tmp_path / f"{number}.tif")
    with pytest.warns(DataWarning):
        read = nelbo.load_data(tmp_path, held_out=1, memory_budget=0)
    assert load_data(read).limits == load_data(read.train).limits == (0, 4095)
    assert load_data(GREY, range=(0, 4095)).limits == (0, 4095)
    with pytest.raises(ConfigurationError, match=r"range is 0,255, but the images were read by 0,4095; leave it out"):
        load_data(read, range=(0, 255))


@pytest.mark.parametrize("kind", ["array", "list"])
def test_a_run_trained_in_memory_keeps_its_range(kind, tmp_path):
    with pytest.warns(DataWarning, match=r"0\.\.4095 became 0\.\.255"):
        run = train(VALUES if kind == "array" else list(VALUES), tmp_path / "run", range=(0, 4095))
    assert run.config.data.range == (0, 4095)
    Image.fromarray(VALUES[0]).save(tmp_path / "0.tif")
    expected = run.score(mapped(0, 4095)[:1])
    with pytest.warns(DataWarning):
        for same in (VALUES[:1], [VALUES[0]], Image.fromarray(VALUES[0]), tmp_path / "0.tif"):
            assert torch.equal(run.score(same), expected)
    with pytest.warns(DataWarning):
        restored = [run.restore(image, noise=9, num=1) for image in (VALUES[0], tmp_path / "0.tif", mapped(0, 4095)[0])]
    assert torch.equal(restored[0].draws, restored[1].draws) and torch.equal(restored[0].draws, restored[2].draws)


def test_classes_of_a_set_are_learned(tmp_path):
    labelled = ArrayDataset(torch.from_numpy(GREY)[:, None], labels=torch.arange(24) % 2, class_names=("a", "b"))
    run = train(labelled, tmp_path / "run")
    assert run.recipe.conditional and sum(run.config.data.class_counts) == 23


def test_fingerprints_tell_images_and_labels_apart(tmp_path):
    images = torch.from_numpy(GREY)[:, None]
    sets = [ArrayDataset(images), ArrayDataset(images.flip(0)), ArrayDataset(images, 256, torch.zeros(24))]
    prints = [fingerprint(Split(each, each.subset(torch.arange(0)))) for each in sets]
    assert len(set(prints)) == 3 and all(len(each) == 32 for each in prints)
    folder = nelbo.load_data(write_pictures(tmp_path / "pictures", 4), memory_budget=0)
    assert isinstance(folder.train, FolderDataset) and len(fingerprint(folder)) == 32


WRONG = {"number": 3, "set": {1}, "empty list": [], "generator": (image for image in ()), "list of none": [None]}


@pytest.mark.parametrize("kind", WRONG)
def test_other_data_is_refused_in_a_sentence(kind, tmp_path):
    with pytest.raises(NelboError) as caught:
        train(WRONG[kind], tmp_path / "run")
    assert len(str(caught.value)) > 30 and str(caught.value).endswith(".")
    assert not (tmp_path / "run").exists()


def test_a_request_may_hold_images(tmp_path):
    assert train(DataRequest(GREY, held_out=4), tmp_path / "run").config.data.num_held_out == 4


def test_a_fresh_seed_is_stored_and_kept_when_resuming(tmp_path):
    with pytest.warns(SeedWarning) as caught:
        run = train(GREY, tmp_path / "run", seed=None)
    seed = run.config.recipe.training.seed
    assert f"seed={seed} repeats" in str(caught[0].message)
    again = train(GREY, tmp_path / "run", seed=None, steps=3)
    assert again.config.recipe.training.seed == seed
    assert train(GREY, tmp_path / "other", seed=seed).config.recipe.training.seed == seed


@pytest.mark.parametrize("wrong", ["12", 1.5, True])
def test_other_seeds_are_refused(wrong, tmp_path):
    with pytest.raises(ConfigurationError, match=r"training\.seed is .*; expected a whole number\."):
        train(GREY, tmp_path / "run", seed=wrong)


def test_progress_and_listener_exclude_each_other(tmp_path):
    with pytest.raises(ConfigurationError, match="give progress or listener, not both"):
        train(GREY, tmp_path / "run", progress=True, listener=Listener())
    with pytest.raises(ConfigurationError, match="progress is 'bar'; expected true for progress bars, or false"):
        train(GREY, tmp_path / "run", progress="bar")


def test_progress_shows_the_stages(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")  # Rich takes standard error for a terminal
    train(GREY, tmp_path / "run", progress=True)
    assert "training" in capsys.readouterr().err


def test_arrays_of_a_list_have_one_scale():
    """As one array of all of them has; otherwise a single dark or white image would be scaled by itself."""
    bright, dark = np.full((8, 8), 59784, np.uint16), np.full((8, 8), 198, np.uint16)
    with pytest.warns(DataWarning, match=r"0\.\.65535 became 0\.\.255"):
        several, one = (
            nelbo.load_data(each, range="full", held_out=0) for each in ([bright, dark], [bright, dark][:1])
        )
    assert several.train.images([0, 1]).amax((1, 2, 3)).tolist() == [233, 1] and several.limits == one.limits
    assert several.limits == (0, 65535)
    black, white, grey = (np.full((8, 8), value, np.float32) for value in (0, 1, 90))
    assert len(nelbo.load_data([black, grey], held_out=0).train) == len(nelbo.load_data([black, white]).train) + 1
    for refused in (nelbo.load_data, nelbo.load("fashion-mnist").score):
        with pytest.raises(
            DataError, match=r"1 of the 2 floating-point arrays of the list is within 0\.\.1 and the rest"
        ):
            refused([white, grey])
