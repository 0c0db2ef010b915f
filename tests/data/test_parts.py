"""Folders that are parts of a data set, such as train and test, by their names."""

import io
import tarfile
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest

from nelbo.data import describe, load_data, load_for_model
from nelbo.data.folders import DataWarning
from nelbo.errors import ConfigurationError
from tests.data.conftest import picture

Save = Callable[..., Path]


class TestParts:
    """Folders named like the parts of a data set are parts, not classes."""

    @pytest.fixture
    def tree(self, tmp_path: Path, save: Save):
        def make(*names: str) -> str:
            for seed, name in enumerate(names):
                save(f"{name}.png", seed=seed)
            return str(tmp_path)

        return make

    def test_the_test_part_is_held_out(self, tree) -> None:
        place = tree("train/cat/0", "train/dog/1", "train/dog/2", "TEST/cat/3", "TEST/dog/4", "val/cat/5")
        with pytest.warns(DataWarning, match=r"not classes: TEST \(2 images\), train \(3 images\) and val \(1 image\)"):
            split = load_data(place)
        assert (len(split.train), len(split.test), split.train.class_names) == (3, 2, ("cat", "dog"))
        assert split.train.labels is not None and split.train.labels.tolist() == [0, 1, 1]
        with pytest.warns(DataWarning, match=r"TEST is held out; val is not used\.$"):
            found = load_for_model(place, (3, 8, 8))
        assert [Path(name).parts[-3:] for name in found.names] == [("TEST", "cat", "3.png"), ("TEST", "dog", "4.png")]
        with pytest.warns(DataWarning):
            report = describe(place)
        assert (report.count, report.held_out, report.ignored["image of the part val"]) == (5, 2, 1)
        with pytest.warns(DataWarning), pytest.raises(ConfigurationError, match="has its own held-out part of 2"):
            load_data(place, held_out=0.5)

    def test_validation_is_held_out_where_there_is_no_test(self, tree) -> None:
        with pytest.warns(DataWarning, match="valid is held out"):
            split = load_data(tree("training/0", "training/1", "valid/2"))
        assert (len(split.train), len(split.test), split.train.class_names) == (2, 1, ())

    def test_one_part_alone_is_no_class(self, tree) -> None:
        with pytest.warns(DataWarning, match=r"train \(3 images\); nothing else is held out"):
            split = load_data(tree("train/cat/0", "train/dog/1", "train/dog/2"), held_out=1)
        assert (len(split.train), len(split.test), split.train.class_names) == (2, 1, ("cat", "dog"))

    @pytest.mark.parametrize(
        ("names", "held", "classes"),
        [
            (("training_set/0", "test_set/1"), "test_set", ()),
            (("train/0", "holdout/1"), "holdout", ()),
            (("train2017/0", "val2017/1"), "val2017", ()),
            (("trainA/0", "trainB/1", "testA/2", "testB/3"), "testA and testB", ("A", "B")),
            (("cats/train/0", "dogs/train/1", "cats/test/2", "dogs/test/3"), "test", ("cats", "dogs")),
            (("data/train/cat/0", "data/test/cat/1", "data/train/dog/2"), "test", ("cat", "dog")),
            (("a/b/train/cat/0", "a/b/Testing/cat/1"), "Testing", ("cat",)),
            (("data/cats/train/0", "data/dogs/train/1", "data/cats/test/2"), "test", ("cats", "dogs")),
        ],
    )
    def test_parts_are_found_by_their_names_and_depths(
        self, tree, names: tuple[str, ...], held: str, classes: tuple[str, ...]
    ) -> None:
        place = tree(*names)
        with pytest.warns(DataWarning, match=f"not classes: .*; {held} (is|are) held out"):
            split = load_data(place)
        apart = sum(any(part in name for part in held.split(" and ")) for name in names)
        assert (len(split.train), len(split.test)) == (len(names) - apart, apart)
        assert split.train.class_names == classes

    @pytest.mark.parametrize(
        ("names", "named"),
        [
            (("train/0", "plane/1"), r"train \(1 image\) is named like a part"),
            (("train/0", "test/1", "2"), r"test \(1 image\) and train \(1 image\) are named like parts"),
            (("train/0", "unlabeled/1"), "train"),
            (("cats/0", "cats/test/1", "dogs/2"), r"test \(1 image\)"),
            (("cats/a/b/test/0", "dogs/1"), r"test \(1 image\)"),
            (("mnist_train/0", "mnist_test/1"), r"mnist_test \(1 image\) and mnist_train \(1 image\)"),
        ],
    )
    def test_unclear_parts_stay_classes_with_a_warning(self, tree, names: tuple[str, ...], named: str) -> None:
        place, classes = tree(*names), sorted({name.partition("/")[0] for name in names if "/" in name})
        with pytest.warns(
            DataWarning, match=rf"{named} .*nothing is held out.*are the classes: {', '.join(classes)}\."
        ):
            split = load_data(place, held_out=0)
        assert (split.train.class_names, len(split.train)) == (tuple(classes), len(names))
        with pytest.warns(DataWarning, match=named):
            load_for_model(place, (3, 8, 8))

    @pytest.mark.parametrize(
        "names", [("trains/0", "tests/1"), ("cat/deep/0", "crash_test/1"), ("valve/0", "device/1")]
    )
    def test_other_folders_are_classes(self, tree, names: tuple[str, ...]) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert len(load_data(tree(*names), held_out=0).train.class_names) == 2


class TestShards:
    """Shards named like the parts of a data set, and such folders in shards, are parts; classes do not change."""

    @pytest.fixture
    def shards(self, tmp_path: Path):
        def make(*names: str) -> str:
            """Write one shard for each name, with one image; what follows a colon is its name in the shard."""
            for seed, name in enumerate(names):
                shard, _, member = name.partition(":")
                path, content = tmp_path / f"{shard}.tar", io.BytesIO()
                path.parent.mkdir(parents=True, exist_ok=True)
                picture(seed).save(content, "PNG")
                with tarfile.open(path, "a") as archive:
                    for ending, body in ((".png", content.getvalue()), (".cls", b"cat")):
                        info = tarfile.TarInfo((member or str(seed)) + ending)
                        info.size = len(body)
                        archive.addfile(info, io.BytesIO(body))
            return str(tmp_path)

        return make

    @pytest.mark.parametrize(
        ("names", "held"),
        [
            (("train-000", "test-000"), "test"),
            (("train-000000", "train-000001", "test-000000"), "test"),
            (("train-00000-of-00002", "validation-00000-of-00001"), "validation"),
            (("imagenet-train-000", "imagenet-train-001", "imagenet-val-000"), "val"),
            (("train", "Test"), "Test"),
            (("train/0", "train/1", "test/0"), "test"),
            (("train/set-train-0", "test/set-test-0"), "test"),
            (("data/train/cats-0", "data/test/cats-0"), "test"),
            (("all:train/0", "all:./test/1"), "test"),
            (("000:cats/train/0", "001:cats/test/1", "001:dogs/train/2"), "test"),
        ],
    )
    def test_held_out_parts_are_held_out(self, shards, names: tuple[str, ...], held: str) -> None:
        place = shards(*names)
        with pytest.warns(DataWarning, match=rf"are the parts of a data set: .*; {held} is held out\.$"):
            split = load_data(place)
        assert (len(split.train), len(split.test), split.train.class_names) == (len(names) - 1, 1, ("cat",))
        with pytest.warns(DataWarning):
            assert len(load_for_model(place, (3, 8, 8)).names) == 1

    def test_other_parts_are_not_used(self, shards) -> None:
        with pytest.warns(DataWarning, match="test is held out; val is not used"):
            report = describe(shards("train-000", "test-000", "val-000"))
        assert (report.count, report.held_out, dict(report.ignored)) == (2, 1, {"image of the part val": 1})

    @pytest.mark.parametrize(
        ("names", "named"),
        [
            (("000", "test-000"), r"test \(1 image\) is named like a part"),
            (("mnist-train-0", "letters-test-0"), r"letters-test \(1 image\) and mnist-train \(1 image\) are named"),
            (("000:train/0", "000:1"), r"train \(1 image\) is named like a part"),
        ],
    )
    def test_unclear_parts_are_warned_of(self, shards, names: tuple[str, ...], named: str) -> None:
        with pytest.warns(DataWarning, match=rf"{named}.*nothing is held out.*name all shards like train-000\.tar"):
            assert len(load_data(shards(*names), held_out=0).train) == 2

    @pytest.mark.parametrize("names", [("train-000", "train-001"), ("000", "001"), ("val-0",), ("cats", "dogs")])
    def test_one_part_alone_changes_nothing(self, shards, names: tuple[str, ...]) -> None:
        place = shards(*names)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert len(load_data(place, held_out=0).train) == len(names)
            assert len(load_data(f"{place}/{names[0]}.tar", held_out=0).train) == 1
