import os
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from nelbo.data import ArrayDataset, DataWarning, FolderDataset, describe, load_data, load_for_model
from nelbo.data.decoding import usable_processors
from nelbo.data.folders import labels_of, list_folder
from nelbo.data.scanning import scan
from nelbo.errors import ConfigurationError, DataError

Save = Callable[..., Path]


@pytest.fixture
def mixed(tmp_path: Path, save: Save) -> Path:
    """Make eight good pictures in two classes, three damaged ones, and files that are not images."""
    for index in range(4):
        save(f"cat/{index}.png", index)
        save(f"dog/deep/{index}.webp", 10 + index)
    save("cat/cut.jpg", size=(64, 64), quality=95)
    (tmp_path / "cat/cut.jpg").write_bytes((tmp_path / "cat/cut.jpg").read_bytes()[:1500])
    (tmp_path / "dog/text.png").write_text("only text")
    (tmp_path / "empty.png").touch()
    (tmp_path / "notes.txt").write_text("kept")
    (tmp_path / ".hidden.png").write_text("not looked at")
    (tmp_path / ".git").mkdir()
    return tmp_path


def everything(spec: object, **options: object) -> list[list[int]]:
    split = load_data(str(spec), **options)
    parts = [part.images(range(len(part))) for part in (split.train, split.test)]
    return torch.cat(parts).flatten(1).tolist()


def test_rejects_are_listed_and_others_loaded(mixed: Path) -> None:
    split = load_data(str(mixed))
    assert (len(split.train), len(split.test), split.train.shape) == (7, 1, (3, 8, 8))
    reasons = {Path(reject.path).name: reject.reason for reject in split.train.rejects}
    assert set(reasons) == {"cut.jpg", "text.png", "empty.png"}
    assert "truncated" in reasons["cut.jpg"] and "not a PNG" in reasons["text.png"] and "empty" in reasons["empty.png"]


def test_on_reject_stop_names_the_files(mixed: Path) -> None:
    with pytest.raises(DataError, match=r"3 files cannot be used.*cut\.jpg.*text\.png.*empty\.png.*on_reject='skip'"):
        load_data(str(mixed), on_reject="stop")


def test_labels_come_from_the_first_sub_folder(mixed: Path, save: Save) -> None:
    save("loose.png", 99)
    train = load_data(str(mixed), held_out=0).train
    assert train.class_names == ("cat", "dog") and train.labels is not None
    assert train.labels.tolist() == [0] * 4 + [1] * 4 + [-1]
    picture = torch.from_numpy(np.array(Image.open(mixed / "cat/2.png"))).permute(2, 0, 1)
    assert torch.equal(train[2], picture)


def test_flat_folder_has_no_labels(tmp_path: Path, save: Save) -> None:
    for index in range(3):
        save(f"{index}.png", index)
    assert load_data(str(tmp_path)).train.labels is None


def test_number_names_sort_by_value() -> None:
    labels, names = labels_of(["10", "2", None, "2"])
    assert labels is not None and (labels.tolist(), names) == ([1, 0, -1, 0], ("2", "10"))


@pytest.mark.parametrize("workers", [1, 3])
def test_result_does_not_depend_on_workers_or_memory(mixed: Path, workers: int) -> None:
    expected = everything(mixed)
    assert everything(mixed, workers=workers) == expected
    lazy = load_data(str(mixed), memory_budget=100)
    assert isinstance(lazy.train, FolderDataset) and isinstance(load_data(str(mixed)).train, ArrayDataset)
    assert everything(mixed, memory_budget=100, workers=workers) == expected
    assert everything(mixed, memory_budget=100, size=5) == everything(mixed, size=5)
    assert torch.equal(lazy.train[-1], lazy.train[6]) and lazy.train.images([]).shape == (0, 3, 8, 8)
    with pytest.raises(IndexError):
        lazy.train[7]


def test_scan_uses_every_usable_processor(mixed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert 1 <= usable_processors() <= (os.cpu_count() or 1)
    pools: list[int] = []

    def pool(workers: int) -> ThreadPoolExecutor:
        pools.append(workers)
        return ThreadPoolExecutor(workers)

    monkeypatch.setattr("nelbo.data.scanning.ThreadPoolExecutor", pool)
    monkeypatch.setattr("nelbo.data.scanning.usable_processors", lambda: 3)
    expected = everything(mixed, workers=0)
    assert (everything(mixed), pools) == (expected, [3])
    describe(str(mixed))
    load_for_model(str(mixed), (3, 8, 8))
    assert pools == [3, 3, 3]


def test_pixels_beyond_the_budget_are_not_kept(tmp_path: Path, save: Save) -> None:
    for index in range(3):
        save(f"{index}.png", index)
    kept = [scan(list_folder(tmp_path), memory_budget=budget).decoded for budget in (576, 575)]
    assert kept[0] is not None and kept[1] is None


def test_memory_budget_counts_rgb_conversion(tmp_path: Path, save: Save) -> None:
    for index in range(3):
        save(f"{index}.png", index, mode="L")
    assert isinstance(load_data(str(tmp_path), memory_budget=192).train, ArrayDataset)
    assert isinstance(load_data(str(tmp_path), memory_budget=192, mode="RGB").train, FolderDataset)


def test_file_changed_after_the_scan_is_reported(tmp_path: Path, save: Save) -> None:
    paths = [save(f"{index}.png", index) for index in range(3)]
    lazy = load_data(str(tmp_path), memory_budget=0, held_out=0).train
    paths[1].unlink()
    with pytest.raises(DataError, match=r"1\.png was readable"):
        lazy.images([0, 1])
    Image.new("RGB", (5, 5), "red").save(paths[2])
    with pytest.raises(DataError, match=r"2\.png is now 5x5, but was 8x8"):
        lazy.images([2])


def test_one_coloured_image_makes_the_set_rgb(tmp_path: Path, save: Save) -> None:
    save("a.png", mode="L"), save("b.png", mode="1"), save("c.png", mode="LA")
    assert load_data(str(tmp_path)).train.shape == (1, 8, 8)
    save("d.png", mode="P")
    assert load_data(str(tmp_path)).train.shape == (3, 8, 8)
    assert load_data(str(tmp_path), mode="L").train.shape == (1, 8, 8)


def test_mixed_sizes_need_size(tmp_path: Path, save: Save) -> None:
    for index, size in enumerate([(8, 8), (8, 8), (12, 9), (1, 1)]):
        save(f"{index}.png", index, size)
    with pytest.raises(DataError, match=r"3 sizes: 8x8 \(2\), 12x9 \(1\), 1x1 \(1\); .* such as size=64"):
        load_data(str(tmp_path))
    assert load_data(str(tmp_path), size=6).train.shape == (3, 6, 6)
    assert load_data(str(tmp_path), size=(4, 6)).train.shape == (3, 4, 6)


def test_images_above_largest_need_size(tmp_path: Path, save: Save) -> None:
    save("a.png", size=(256, 100))
    assert load_data(str(tmp_path), largest=256).train.shape == (3, 100, 256)
    save("b.png", size=(4, 257))
    with pytest.raises(
        DataError, match=r"b\.png is 4x257; without size, a side may have at most 256 pixels\. .* such as size=64"
    ):
        load_data(str(tmp_path), largest=256)
    assert load_data(str(tmp_path), largest=256, size=300).train.shape == (3, 300, 300)
    np.save(tmp_path / "wide.npy", np.zeros((2, 4, 300), dtype=np.uint8))
    with pytest.raises(DataError, match=r"each image of wide is 300x4; without size"):
        load_data(str(tmp_path / "wide.npy"), largest=256)
    assert load_data(str(tmp_path / "wide.npy"), largest=256, size=8).train.shape == (1, 8, 8)
    assert describe(str(tmp_path)).count == 2


def test_images_that_misfit_the_model_are_rejects(tmp_path: Path, save: Save) -> None:
    for name, mode, size in (("colour", "RGB", 8), ("grey", "L", 8), ("large", "RGB", 9), ("other", "L", 8)):
        save(f"{name}.png", size=(size, size), mode=mode)
    (tmp_path / "text.png").write_text("only text")
    found = load_for_model(str(tmp_path), (1, 8, 8), resize=False)
    taken = found.images
    assert [Path(name).name for name in found.names] == ["grey.png", "other.png"]
    assert {Path(reject.path).name: reject.reason for reject in taken.rejects} == {
        "text.png": "it is not a PNG, JPEG, WebP, BMP or TIFF image",
        "colour.png": "in colour, but the model is grey, and images are not converted",
        "large.png": "9x9, but the model takes 8x8 and images are not resized",
    }
    found = load_for_model(str(tmp_path), (3, 8, 8), resize=False)
    assert [Path(name).name for name in found.names] == ["colour.png", "grey.png", "other.png"]
    found = load_for_model(str(tmp_path), (1, 8, 8))
    assert (len(found.names), found.images.shape, len(found.images.rejects)) == (4, (1, 8, 8), 1)
    assert found.note == (
        "1 of 4 images resized to 8x8 (shorter side fitted, centre cut out), 2 of 4 images converted to grey"
    )
    (tmp_path / "grey.png").unlink(), (tmp_path / "other.png").unlink()
    with pytest.raises(DataError, match=r"none of its 3 images can be used.*in colour, but the model is grey"):
        load_for_model(str(tmp_path), (1, 8, 8), resize=False)


def test_images_of_few_levels_are_not_resized() -> None:
    found = load_for_model("digits", (1, 16, 16))
    assert (found.images.shape, found.note) == ((1, 8, 8), "")
    with pytest.raises(DataError, match=r"digits has 17 levels and 8 x 8 pixels; .* leave out size and mode\.$"):
        load_data("digits", size=16)


def test_empty_folder_lists_the_endings(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()
    with pytest.raises(
        DataError, match=r"holds no images.*\.png \.jpg \.jpeg \.jpe \.jfif \.webp \.bmp \.tif \.tiff.*1 other"
    ):
        load_data(str(tmp_path))


def test_folder_of_damaged_files_is_reported(tmp_path: Path) -> None:
    (tmp_path / "a.png").touch()
    with pytest.raises(DataError, match=r"its only image cannot be used: .*a\.png: the file is empty"):
        load_data(str(tmp_path))
    assert describe(str(tmp_path)).count == 0


def test_links_are_followed_once_and_loops_end(tmp_path: Path, save: Save) -> None:
    save("real/a.png")
    (tmp_path / "alias").symlink_to(tmp_path / "real")
    (tmp_path / "real/up").symlink_to(tmp_path)
    (tmp_path / "real/self.png").symlink_to("self.png")
    (tmp_path / "gone.png").symlink_to(tmp_path / "nowhere.png")
    report = describe(str(tmp_path))
    assert (report.count, dict(report.classes)) == (1, {"real": 1})
    assert {Path(reject.path).name for reject in report.rejects} == {"self.png", "gone.png"}


def test_pipe_named_png_does_not_block(tmp_path: Path, save: Save) -> None:
    save("a.png")
    os.mkfifo(tmp_path / "pipe.png")
    assert [reject.reason for reject in describe(str(tmp_path)).rejects] == ["not a regular file"]


def test_names_that_are_not_utf8_are_printable(tmp_path: Path, save: Save) -> None:
    save("a.png")
    with open(os.fsencode(tmp_path) + b"/\xff.png", "wb"):
        pass
    rejects = describe(str(tmp_path)).rejects
    assert rejects[0].path.endswith("\\xff.png")
    rejects[0].path.encode()


def test_progress_reaches_the_end(mixed: Path) -> None:
    seen: list[tuple[int, int]] = []
    load_data(str(mixed), progress=lambda done, total: seen.append((done, total)))
    assert seen == [(done, 11) for done in range(1, 12)]


def test_one_image_trains_without_held_out_part(tmp_path: Path, save: Save) -> None:
    for spec in (save("only.png"), tmp_path):
        split = load_data(str(spec))
        assert (len(split.train), len(split.test)) == (1, 0)
        with pytest.raises(DataError, match=r"1 image.*raise held_out"):
            split.require_test()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": 0}, "size is 0"),
        ({"mode": "CMYK"}, "mode is 'CMYK'"),
        ({"on_reject": "ask"}, "on_reject is 'ask'"),
        ({"workers": -1}, "workers must be a whole number, at least 0, got -1"),
        ({"workers": "4"}, "workers must be a whole number, at least 0, got '4'"),
        ({"memory_budget": "2"}, "memory_budget must be a whole number, at least 0, got '2'"),
    ],
)
def test_invalid_options_are_named(options: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        load_data("digits", **options)


def test_report_of_a_folder(mixed: Path, save: Save) -> None:
    save("cat/wide.png", size=(20, 10), mode="L")
    found = describe(str(mixed), workers=2).to_json()
    assert found["kind"] == "folder" and found["count"] == 9 and found["shape"] is None
    assert found["sizes"] == {"8x8": 8, "20x10": 1} and found["modes"] == {"RGB": 8, "L": 1}
    assert found["classes"] == {"cat": 5, "dog": 4} and found["ignored"] == {"hidden": 2, ".txt": 1}
    assert len(found["rejects"]) == 3 and found["levels"] == 256 and found["bytes"] == 3 * (8 * 64 + 200)


def test_digest_of_names_moves_with_the_folder(tmp_path: Path, save: Save) -> None:
    for name in ("a/x/1.png", "a/y/2.png"):
        save(name)
    copied = shutil.copytree(tmp_path / "a", tmp_path / "b")
    digest = load_data(tmp_path / "a").names
    assert digest is not None and load_data(copied).names == load_data(copied, memory_budget=0).names == digest
    assert load_data(tmp_path / "a", held_out=0).names == digest
    (copied / "y" / "2.png").rename(copied / "y" / "3.png")
    assert load_data(copied).names != digest
    assert load_data("digits").names is None


def test_sets_beside_images_and_other_pictures_are_named(tmp_path: Path, save: Save) -> None:
    for index in range(3):
        save(f"{index}.png", index)
    (tmp_path / "train-0.tar").touch()
    with pytest.warns(DataWarning, match=r"1 file is left out, because other files are images \(\.tar: 1\); move what"):
        load_data(tmp_path)
    (tmp_path / "moving.gif").write_bytes(b"GIF89a")
    with pytest.raises(
        DataError, match=r"moving\.gif is a \.gif picture, which nelbo does not read; convert it to PNG"
    ):
        load_data(tmp_path / "moving.gif")


def test_a_cut_header_is_told_without_words_of_python(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\nxx")
    with pytest.raises(DataError, match=r"a damaged or unsupported PNG image \(a part of it is cut short\)"):
        load_data(tmp_path, on_reject="stop")
