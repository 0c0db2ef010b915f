"""`nelbo compress`, `decompress`, `inspect` and `codec`."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from nelbo.codec import Bitstream
from nelbo.data import load_data
from nelbo.errors import CodecError
from nelbo.files import read_tensors, write_tensors
from nelbo.runs import DiffusionRun, load_as


@pytest.fixture
def model(with_codec):
    return with_codec


@pytest.fixture
def picture(tmp_path):
    """A digit as a PNG of its 17 levels."""
    pixels = load_data("digits").require_test().images([4])[0, 0].numpy()
    Image.fromarray(pixels).save(tmp_path / "four.png")
    return tmp_path / "four.png"


def pixels_of(path):
    return np.asarray(Image.open(path))


def test_round_trip_is_exact(nelbo_cli, model, picture, tmp_path):
    made = nelbo_cli("compress", picture, "-m", model, "-o", "four.nelbo")
    assert made.code == 0 and "1 image, " in made.out and "bits/dim" in made.out
    assert nelbo_cli("decompress", "four.nelbo", "-o", "back.png", "-m", model).code == 0
    assert np.array_equal(pixels_of(tmp_path / "back.png"), pixels_of(picture))


def test_model_is_found_by_its_fingerprint(nelbo_cli, model, picture, tmp_path, monkeypatch):
    nelbo_cli("compress", picture, "-m", model, "-o", "four.nelbo")
    lost = nelbo_cli("decompress", "four.nelbo", "-o", "back.png")
    assert lost.code == 2 and "fingerprint" in lost.err and "NELBO_MODELS" in lost.err
    monkeypatch.setenv("NELBO_MODELS", str(model.parent))
    assert nelbo_cli("decompress", "four.nelbo", "-o", "back.png").code == 0
    monkeypatch.delenv("NELBO_MODELS")
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "tiny").symlink_to(model)
    assert nelbo_cli("decompress", "four.nelbo", "-o", "again.png").code == 0


def test_a_folder_of_images_becomes_a_folder_of_files(nelbo_cli, model, picture, tmp_path):
    folder = tmp_path / "some"
    folder.mkdir()
    for i, image in enumerate(load_data("digits").require_test().images(range(3))):
        Image.fromarray(image[0].numpy()).save(folder / f"{i}.png")
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (8, 8, 3), dtype=np.uint8)).save(folder / "colour.png")
    (folder / "broken.png").write_bytes(b"no image")
    made = nelbo_cli("compress", folder, "-m", model, "-o", "out")
    assert made.code == 1 and "3 images" in made.out  # a script must not delete what was skipped
    assert "colour.png: in colour, and the model's images are grey" in made.err and "broken.png" in made.err
    assert nelbo_cli("decompress", "out", "-o", "back", "-m", model).code == 0
    for i in range(3):
        assert np.array_equal(pixels_of(tmp_path / "back" / f"{i}.png"), pixels_of(folder / f"{i}.png"))


def test_one_bad_file_does_not_stop_the_rest(nelbo_cli, model, picture, tmp_path):
    folder = tmp_path / "files"
    for name in ("a", "b", "c", "d"):
        assert nelbo_cli("compress", picture, "-m", model, "-o", f"files/{name}.nelbo").code == 0
    content = (folder / "a.nelbo").read_bytes()
    (folder / "a.nelbo").write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    (folder / "b.nelbo").write_bytes(content[:3] + b"\0" + content[4:])
    (folder / "c.nelbo").write_bytes(with_another_hash(content))
    found = nelbo_cli("decompress", "files", "-o", "back", "-m", model)
    assert found.code == 2 and "Traceback" not in found.err
    assert "a.nelbo: the file is damaged" in found.err and "b.nelbo: the file is damaged" in found.err
    assert "c.nelbo: the decoded pixels do not match the file's hash" in found.err
    assert [path.name for path in (tmp_path / "back").iterdir()] == ["d.png"]
    assert np.array_equal(pixels_of(tmp_path / "back" / "d.png"), pixels_of(picture))


@pytest.mark.parametrize("plan", ["stale", "none"])
def test_another_model_is_named_before_its_own_plan(nelbo_cli, model, picture, tmp_path, plan):
    """A stale or missing plan of a model that did not make the file is not what is wrong."""
    nelbo_cli("compress", picture, "-m", model, "-o", "four.nelbo")
    other = tmp_path / "other"
    shutil.copytree(model, other)
    tensors, _ = read_tensors(other / "codec.safetensors")
    write_tensors(other / "codec.safetensors", tensors, {"fingerprint": 32 * "ab", "stale": True})
    if plan == "none":
        (other / "codec.safetensors").unlink()
    found = nelbo_cli("decompress", "four.nelbo", "-o", "back.png", "-m", other)
    own = "this model is abababababababab" if plan == "stale" else "this model has no codec plan"
    assert found.code == 2 and f"{own}; choose the model that made it" in found.err
    with pytest.raises(CodecError, match=own):
        load_as(DiffusionRun, other).decompress((tmp_path / "four.nelbo").read_bytes())


def test_missing_model_is_reported_once(nelbo_cli, model, picture):
    for name in ("a", "b"):
        nelbo_cli("compress", picture, "-m", model, "-o", f"files/{name}.nelbo")
    found = nelbo_cli("decompress", "files", "-o", "back", "-m", "nowhere")
    assert found.code == 2 and found.err.count("nowhere") == 1


def with_another_hash(content):
    """Return the file with a wrong hash of its pixels and a correct checksum."""
    file = Bitstream.from_bytes(content)
    return replace(file, pixel_hash=bytes(4 * [7]), check=None).to_bytes()


def test_truncated_file_exits_with_code_1(nelbo_cli, model, picture, tmp_path):
    nelbo_cli("compress", picture, "-m", model, "-o", "four.nelbo")
    (tmp_path / "four.nelbo").write_bytes((tmp_path / "four.nelbo").read_bytes()[:24])
    found = nelbo_cli("decompress", "four.nelbo", "-o", "back.png", "-m", model)
    assert found.code == 1 and "the file is truncated" in found.err and (tmp_path / "back.png").exists()


def test_image_is_not_overwritten(nelbo_cli, model, picture, tmp_path):
    before = picture.read_bytes()
    refused = nelbo_cli("compress", picture, "-m", model, "-o", picture)
    assert refused.code == 2 and "must end in .nelbo" in refused.err and picture.read_bytes() == before
    (tmp_path / "named.nelbo").write_bytes(before)
    refused = nelbo_cli("compress", "named.nelbo", "-m", model, "-o", "named.nelbo")
    assert refused.code == 2 and (tmp_path / "named.nelbo").read_bytes() == before


def test_image_behind_a_link_is_not_overwritten(nelbo_cli, model, picture, tmp_path):
    real = tmp_path / "real.nelbo"
    picture.rename(real)
    picture.symlink_to(real)
    before = real.read_bytes()
    refused = nelbo_cli("compress", picture, "-m", model, "-o", real)
    assert refused.code == 2 and "would overwrite" in refused.err
    assert real.read_bytes() == before


@pytest.mark.parametrize("kind", ["alpha", "16 bits", "opaque"])
def test_losses_in_reading_are_reported(nelbo_cli, model, picture, tmp_path, kind):
    grey = pixels_of(picture)
    if kind == "16 bits":
        Image.fromarray(grey.astype(np.uint16) * 257).save("x.png")
    else:
        alpha = np.full_like(grey, 255 if kind == "opaque" else 250)
        alpha[:4] = 255
        Image.fromarray(np.stack([0 * grey, alpha], 2), "LA").save("x.png")
    done = nelbo_cli("compress", "x.png", "-m", model, "-o", "x.nelbo")
    expected = {"alpha": "its transparency became white", "16 bits": "its 16 bits became 8", "opaque": ""}[kind]
    assert expected in done.err and ("decoding gives this image back" in done.err) == bool(expected)


def test_raw_file_has_no_parts(nelbo_cli, model, tmp_path):
    Image.fromarray(np.arange(1, dtype=np.uint8).reshape(1, 1)).save("one.png")
    assert nelbo_cli("compress", "one.png", "-m", model, "-o", "one.nelbo").code == 0
    assert json.loads(nelbo_cli("inspect", "one.nelbo", "--json", "-").out)["kind"] == "raw"
    found = nelbo_cli("inspect", "one.nelbo", "--original", "one.png")
    assert found.code == 0 and "1x1, stored without the model, so it has no parts, RMSE 0.00" in found.out
    Image.fromarray(np.zeros((2, 1), np.uint8)).save("two.png")
    refused = nelbo_cli("inspect", "one.nelbo", "--original", "two.png")
    assert refused.code == 2 and "the decoded image is (1, 1, 1) and the original (1, 2, 1)" in refused.err
    seen = nelbo_cli("decompress", "one.nelbo", "-o", "back.png", "--bytes", 5)
    assert seen.code == 0 and "has no previews" in seen.err


def test_missing_input_is_named_before_the_output(nelbo_cli):
    refused = nelbo_cli("decompress", "absent.nelbo", "-o", "back.gif")
    assert refused.code == 2 and "absent.nelbo cannot be read" in refused.err


def test_report_checks_sizes_before_compressing(nelbo_cli, model, tmp_path):
    Image.fromarray(np.zeros((9, 8), np.uint8)).save("x.png")
    refused = nelbo_cli("compress", "x.png", "-m", model, "-o", "x.nelbo", "--report")
    assert refused.code == 2 and "x.png is (1, 9, 8)" in refused.err and not (tmp_path / "x.nelbo").exists()


def test_bundled_plan_is_not_replaced(nelbo_cli):
    refused = nelbo_cli("codec", "fashion-mnist", "--again")
    assert refused.code == 2 and "is a bundled model" in refused.err


def test_previews_are_announced(nelbo_cli, model, picture):
    nelbo_cli("compress", picture, "-m", model, "-o", "four.nelbo")
    seen = nelbo_cli("decompress", "four.nelbo", "-o", "back.png", "-m", model, "--bytes", 24)
    assert seen.code == 0 and "a preview from 24 of" in seen.err and "cannot be verified" in seen.err


def test_inspect_lists_the_parts(nelbo_cli, model, picture, tmp_path):
    nelbo_cli("compress", picture, "-m", model, "-o", "four.nelbo")
    shown = nelbo_cli("inspect", "four.nelbo", "-m", model, "--original", picture, "--json", "parts.json")
    assert shown.code == 0 and "lossless, 8x8" in shown.out and "x_0, pass 4" in shown.out
    parts = json.loads((tmp_path / "parts.json").read_text())["segments"]
    assert parts[-1]["rmse"] == 0 and parts[0]["name"] == "header"


def test_files_are_cut_on_request(nelbo_cli, model, picture, tmp_path):
    for option, value in (("--max-bytes", 26), ("--rmse", 1.5), ("--lossy-only", None)):
        made = nelbo_cli(
            "compress", picture, "-m", model, "-o", "cut.nelbo", option, *([] if value is None else [value])
        )
        assert made.code == 0, made.err
        back = f"back{option}.png"
        assert nelbo_cli("decompress", "cut.nelbo", "-o", back, "-m", model).code == 0
        error = np.sqrt(np.mean((pixels_of(tmp_path / back).astype(float) - pixels_of(picture)) ** 2))
        assert error > 0
        if option == "--rmse":
            assert error <= 1.5
        if option == "--max-bytes":
            assert (tmp_path / "cut.nelbo").stat().st_size <= 26


def test_report_compares_with_the_bound(nelbo_cli, model):
    shown = nelbo_cli("compress", "digits", "-m", model, "--num", 4, "--report", "--json", "-")
    report = json.loads(shown.out)["report"]
    assert report["num_images"] == 4 and report["over_bound"] == pytest.approx(report["total"] / report["bound"])
    assert "lossless end" in nelbo_cli("compress", "digits", "-m", model, "--num", 4, "--report").out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("compress", "digits", "-o", "x", "--max-bytes", "50", "--rmse", "3"), "each set the end of a file"),
        (("compress", "digits"), "set --out to the file or folder to write"),
        (("compress", "digits", "-o", "x", "--lossy-only", "--report"), "--report needs lossless files"),
        (("decompress", "nothing.nelbo", "-o", "x.png"), "nothing.nelbo cannot be read"),
        (("decompress", "text.nelbo", "-o", "x.png"), "text.nelbo: this is not a .nelbo file"),
        (("inspect", "text.nelbo"), "this is not a .nelbo file"),
        (("decompress", ".", "-o", "x"), "not a .nelbo file"),
        (("codec",), "already exists; --again replaces it"),
    ],
)
def test_mistakes_are_one_sentence(nelbo_cli, model, tmp_path, arguments, message):
    (tmp_path / "text.nelbo").write_text("hello there")
    command, *rest = arguments
    more = [model] if command == "codec" else ["-m", model]
    found = nelbo_cli(command, *rest, *more)
    assert found.code == 2 and message in found.err and "Traceback" not in found.err


def test_damaged_file_decodes_only_on_request(nelbo_cli, model, picture, tmp_path):
    nelbo_cli("compress", picture, "-m", model, "-o", "four.nelbo")
    content = bytearray((tmp_path / "four.nelbo").read_bytes())
    content[-1] ^= 1
    (tmp_path / "four.nelbo").write_bytes(content)
    refused = nelbo_cli("decompress", "four.nelbo", "-o", "back.png", "-m", model)
    assert refused.code == 2 and "checksum" in refused.err and not (tmp_path / "back.png").exists()
    unverified = nelbo_cli("decompress", "four.nelbo", "-o", "back.png", "-m", model, "--unverified")
    assert unverified.code == 0 and "unverified" in unverified.err


def test_run_without_a_plan_names_nelbo_codec(nelbo_cli, model, tmp_path, picture):
    bare = tmp_path / "bare"
    bare.mkdir()
    for name in ("config.json", "model.safetensors"):
        (bare / name).write_bytes((model / name).read_bytes())
    found = nelbo_cli("compress", picture, "-m", bare, "-o", "x.nelbo")
    assert found.code == 2 and f"nelbo codec {bare}" in found.err


def test_codec_measures_a_plan(nelbo_cli, model, tmp_path, picture, quick_fit):
    bare = tmp_path / "bare"
    bare.mkdir()
    for name in ("config.json", "model.safetensors"):
        (bare / name).write_bytes((model / name).read_bytes())
    found = nelbo_cli("codec", bare, "--steps", 20, "--images", 64)
    assert found.code == 0 and "steps are sent" in found.out
    assert load_as(DiffusionRun, bare).codec().chain.num_steps >= 1
    assert nelbo_cli("compress", picture, "-m", bare, "-o", "x.nelbo").code == 0
