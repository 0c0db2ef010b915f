"""The Hub without a network connection: the cache layout of huggingface_hub, and uploads to a fake client."""

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import nelbo
from nelbo.errors import ConfigurationError, NelboError, RunError
from nelbo.interop import Repository, export_model, import_model
from nelbo.interop.hub import upload
from nelbo.runs import DiffusionRun, RunConfig
from tests.interop.conftest import difference, noise, their_unet

huggingface_hub = pytest.importorskip("huggingface_hub", reason="accelerate brings it along")
COMMIT = "0123456789abcdef0123456789abcdef01234567"


class FakeHub:
    """A fake of the upload methods of `huggingface_hub.HfApi`; repositories are folders."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.private: dict[str, bool] = {}

    def create_repo(self, repo_id: str, *, private: bool, exist_ok: bool) -> str:
        assert exist_ok
        self.private[repo_id] = private
        return f"https://huggingface.co/{repo_id}"

    def upload_folder(self, *, repo_id: str, folder_path: Path, commit_message: str) -> None:
        assert commit_message
        shutil.copytree(folder_path, self.root / repo_id)


@pytest.fixture
def hub(tmp_path: Path) -> FakeHub:
    return FakeHub(tmp_path / "hub")


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, Path], None]:
    """`cache("owner/name", folder)` puts a repository into the client's cache; the client is offline."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    fetch = huggingface_hub.snapshot_download
    monkeypatch.setattr(
        huggingface_hub,
        "snapshot_download",
        lambda *names, **given: fetch(*names, **given, cache_dir=tmp_path / "cache"),
    )

    def put(name: str, folder: Path) -> None:
        home = tmp_path / "cache" / f"models--{name.replace('/', '--')}"
        shutil.copytree(folder, home / "snapshots" / COMMIT)
        (home / "refs").mkdir()
        (home / "refs" / "main").write_text(COMMIT)

    return put


def test_repository_references_are_parsed() -> None:
    assert Repository.named("hf:google/ddpm-cifar10-32") == Repository("google/ddpm-cifar10-32")
    assert Repository.named("hf:a/b@v1.0") == Repository("a/b", "v1.0")
    assert str(Repository("a/b", "v1.0")) == "hf:a/b@v1.0"
    assert Repository.named(Path("hf")) is None
    for wrong in ("hf:", "hf:one", "hf:a/b/c", "hf:a b/c", "hf:a/b@"):
        with pytest.raises(ConfigurationError, match=r"malformed reference 'hf:.*'; expected hf:owner/name"):
            Repository.named(wrong)


def test_pipeline_is_read_from_the_cache(cache: Any, pipeline_folder: Path, tmp_path: Path) -> None:
    cache("google/small", pipeline_folder)
    import_model("hf:google/small", tmp_path / "out")
    assert nelbo.load(tmp_path / "out").shape == (3, 16, 16)


@pytest.mark.parametrize("variant", [None, "fp16"])
@pytest.mark.parametrize("home", ["", "unet", "unet_ema"])
def test_every_layout_of_weights_is_downloaded(
    home: str, variant: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there, here = tmp_path / "there", tmp_path / "here"
    their_unet().save_pretrained(there / home, max_shard_size="100KB", variant=variant)

    def fetch(name: str, *, allow_patterns: list[str], **_: Any) -> str:
        names = [path.relative_to(there).as_posix() for path in there.rglob("*") if path.is_file()]
        for wanted in huggingface_hub.utils.filter_repo_objects(names, allow_patterns=allow_patterns):
            (here / wanted).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(there / wanted, here / wanted)
        return str(here)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", fetch)
    import_model("hf:a/b", tmp_path / "out")
    assert nelbo.load(tmp_path / "out").shape == (3, 16, 16)


def test_uncached_repository_fails_offline(cache: Any, tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"hf:google/other cannot be downloaded.*HF_HUB_OFFLINE is set: unset it, or"):
        import_model("hf:google/other", tmp_path / "out")


@pytest.mark.parametrize(
    ("kind", "advice"),
    [
        ("RepositoryNotFoundError", "log in with `hf auth login`"),
        ("ConnectError", "Check the network"),
        ("LocalTokenNotFoundError", "log in with `hf auth login`"),
    ],
)
def test_client_errors_become_one_line_with_advice(
    kind: str, advice: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise type(kind, (Exception,), {})("so it\nis.")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", fail)
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    with pytest.raises(RunError, match=rf"hf:a/b cannot be downloaded: so it is\. .*{advice}"):
        import_model("hf:a/b", tmp_path / "out")


def test_missing_client_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(ConfigurationError, match="pip install huggingface_hub"):
        import_model("hf:a/b", tmp_path / "out")


def test_run_survives_upload_and_download(
    hub: FakeHub, cache: Any, our_run: Callable[..., DiffusionRun], tmp_path: Path
) -> None:
    run = our_run(parameterization="grid")  # diffusers does not support it
    (run.folder / "metrics.jsonl").write_text("")
    exported = export_model(run.folder, "hf:me/mine", format="nelbo", api=hub)
    assert exported.place == "https://huggingface.co/me/mine"
    assert hub.private == {"me/mine": True}
    there = tmp_path / "hub" / "me/mine"
    assert {path.name for path in there.iterdir()} == {"README.md", "config.json", "model.safetensors"}
    assert 'nelbo.interop.import_model("hf:me/mine", "runs/mine")' in (there / "README.md").read_text()

    cache("me/mine", there)
    import_model("hf:me/mine", tmp_path / "back")
    back = nelbo.load(tmp_path / "back", device="cpu")
    assert back.config == run.config
    x_t, t = noise(1, *run.shape), torch.tensor([9])
    assert difference(back.network(x_t, t), run.network(x_t, t)) == 0


def test_export_removes_the_data_path(hub: FakeHub, our_run: Callable[..., DiffusionRun], tmp_path: Path) -> None:
    run = our_run()
    config = json.loads((run.folder / "config.json").read_text())
    config["data"]["spec"] = str(tmp_path / "private")
    (run.folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(nelbo.NelboError, match=r"^public is for a repository"):
        export_model(run.folder, tmp_path / "folder", format="nelbo", public=True)
    export_model(run.folder, "hf:me/mine", format="nelbo", public=True, api=hub)
    assert hub.private == {"me/mine": False}
    sent = json.loads((tmp_path / "hub" / "me/mine" / "config.json").read_text())
    assert sent == {**config, "data": {**config["data"], "spec": "unknown"}}


def test_pipeline_is_uploaded_with_a_card(hub: FakeHub, our_run: Callable[..., DiffusionRun], tmp_path: Path) -> None:
    export_model(our_run().folder, "hf:me/mine", format="diffusers", api=hub)
    import_model(tmp_path / "hub" / "me/mine", tmp_path / "back")
    card = (tmp_path / "hub" / "me/mine" / "README.md").read_text()
    assert card.startswith("---\nlibrary_name: diffusers\n")


def test_upload_to_a_revision_is_refused(hub: FakeHub, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="leave @v1 out to upload"):
        upload(tmp_path, Repository("a/b", "v1"), api=hub)


def test_refused_upload_is_reported(our_run: Callable[..., DiffusionRun]) -> None:
    class Refuses:
        def create_repo(self, *_: Any, **__: Any) -> str:
            raise PermissionError("403 Forbidden")

    with pytest.raises(NelboError, match="hf:me/mine cannot be written: 403 Forbidden"):
        export_model(our_run().folder, "hf:me/mine", format="nelbo", api=Refuses())


def test_interrupted_import_and_export_can_be_repeated(
    pipeline_folder: Path, our_run: Callable[..., DiffusionRun], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    run, here, there = our_run(), tmp_path / "here", tmp_path / "there"
    with monkeypatch.context() as patch:
        patch.setattr(RunConfig, "save", interrupted)  # the last file of an import
        patch.setattr("nelbo.interop.exporting.card", interrupted)  # and of an export
        with pytest.raises(KeyboardInterrupt):
            import_model(pipeline_folder, here)
        with pytest.raises(KeyboardInterrupt):
            export_model(run.folder, there, format="diffusers")
    assert [path.name for path in tmp_path.iterdir() if path != run.folder] == []
    import_model(pipeline_folder, here)
    export_model(run.folder, there, format="diffusers")
    assert nelbo.load(here).shape == (3, 16, 16) and (there / "README.md").is_file()
