"""`nelbo import` and `nelbo export`."""

import json
import shutil

import pytest
import torch


def test_export_and_import_again(nelbo_cli, unconditional, tmp_path):
    out = nelbo_cli("export", unconditional, "--out", "pipeline")
    assert out.code == 0
    assert "note: the calibrated variance is not exported" in out.err
    assert (tmp_path / "pipeline" / "model_index.json").is_file()
    back = nelbo_cli("import", "pipeline", "--out", "back")
    assert back.code == 0
    assert "try: nelbo sample back" in back.err
    for command in (
        ("sample", "back", "--num", "2", "--steps", "2", "--out", "two.npy"),
        ("evaluate", "back", "--data", unconditional.parent / "pictures", "--steps-per-image", "1"),
        ("score", unconditional.parent / "pictures", "--model", "back", "--csv", "bits.csv"),
    ):
        assert nelbo_cli(*command).code == 0


def test_export_of_a_default_model_says_how_to_load_it(nelbo_cli, trained, tmp_path):
    out = nelbo_cli("export", trained, "--out", "pipeline")
    assert out.code == 0
    assert "note: diffusers lacks a label for no class" in out.err
    assert "DDPMPipeline.from_pretrained(FOLDER, trust_remote_code=True)" in out.err
    assert (tmp_path / "pipeline" / "unet" / "nelbo_unet.py").is_file()
    assert "nelbo does not run; import a copy" in nelbo_cli("import", "pipeline", "--out", "back").err


@pytest.mark.slow
def test_export_of_a_torch_program(nelbo_cli, trained, tmp_path):
    assert "differ from the model's by" in nelbo_cli("export", trained, "--format", "torch", "--out", "program").err
    assert torch.export.load(tmp_path / "program" / "model.pt2") is not None


def test_run_is_exported_unchanged(nelbo_cli, trained, tmp_path):
    assert nelbo_cli("export", trained, "--format", "nelbo", "--out", "run").code == 0
    assert nelbo_cli("import", "run", "--out", "again").code == 0
    assert nelbo_cli("sample", "again", "--num", "1", "--steps", "1", "--out", "one.npy").code == 0
    whole = (trained / "model.safetensors").read_bytes()
    assert all((tmp_path / name / "model.safetensors").read_bytes() == whole for name in ("run", "again"))


def test_imported_model_has_no_data(nelbo_cli, unconditional):
    nelbo_cli("export", unconditional, "--out", "pipeline")
    nelbo_cli("import", "pipeline", "--out", "back")
    for command in (("evaluate", "back"), ("train", "--out", "back")):
        outcome = nelbo_cli(*command)
        assert outcome.code == 2
        assert "the model was imported without its images" in outcome.err


def test_mistakes_are_one_sentence(nelbo_cli, trained):
    for command, reason in (
        (("import", "nothing", "--out", "back"), "nothing is not a folder"),
        (("import", trained, "--out", trained), "is not empty; choose another --out"),
        (("export", trained, "--format", "onnx", "--out", "x"), "unknown format 'onnx'"),
        (("export", trained, "--out", "hf:nobody"), "malformed reference"),
    ):
        outcome = nelbo_cli(*command)
        assert outcome.code == 2
        assert reason in outcome.err


def test_options_of_a_later_version_are_named(nelbo_cli, unconditional, tmp_path):
    nelbo_cli("export", unconditional, "--out", "pipeline")
    shutil.copytree(tmp_path / "pipeline", tmp_path / "later")
    path = tmp_path / "later" / "unet" / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "gate": 1}))
    assert "later cannot be imported" in (said := nelbo_cli("import", "later", "--out", "x").err)
    assert "'gate'" in said
