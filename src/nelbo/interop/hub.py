"""The Hugging Face Hub: the one place that imports its client, and only when it is asked for."""

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from nelbo.errors import ConfigurationError, RunError

PREFIX = "hf:"
NAME = re.compile(r"(?P<name>[\w.-]+/[\w.-]+)(?:@(?P<revision>[\w./-]+))?")


@dataclass(frozen=True)
class Repository:
    """A repository of models on the Hub.

    Attributes:
        name: "owner/name".
        revision: a branch, tag or commit, or None for the newest.
    """

    name: str
    revision: str | None = None

    @classmethod
    def named(cls, place: str | os.PathLike[str]) -> Self | None:
        """What "hf:owner/name" or "hf:owner/name@revision" says; None for a path.

        Raises:
            ConfigurationError: it begins so and does not go on so.
        """
        if not str(place).startswith(PREFIX):
            return None
        match = NAME.fullmatch(str(place).removeprefix(PREFIX))
        if match is None:
            raise ConfigurationError(f"{place} names no repository; expected hf:owner/name, or hf:owner/name@revision.")
        return cls(match["name"], match["revision"])

    def __str__(self) -> str:
        return f"{PREFIX}{self.name}" + (f"@{self.revision}" if self.revision else "")


def download(repository: Repository, files: Sequence[str]) -> Path:
    """The folder of the Hub's cache that holds those of `files` that the repository has.

    Without the network (or with HF_HUB_OFFLINE=1) it is what was fetched before.

    Raises:
        ConfigurationError: the client is not installed.
        RunError: there is no such repository, or it can't be reached and was not fetched before.
    """
    with _as_a_sentence(f"{repository} cannot be fetched"):
        fetched = _client().snapshot_download(
            repository.name, revision=repository.revision, allow_patterns=list(files), library_name="nelbo"
        )
    return Path(fetched)


def upload(folder: Path, repository: Repository, *, public: bool = False, api: Any = None) -> str:
    """Put what is in a folder into a repository, which is made if need be; its address.

    Args:
        public: let everybody see a repository that is made; one that exists stays as it is.
        api: an object with the `create_repo` and `upload_folder` of `huggingface_hub.HfApi`.

    Raises:
        ConfigurationError: the client is not installed, or a revision is named.
        RunError: nobody is logged in, the repository is someone else's, or the Hub can't be reached.
    """
    if repository.revision:
        raise ConfigurationError(f"{repository} names a revision; leave @{repository.revision} out to upload.")
    with _as_a_sentence(f"{repository} cannot be written"):
        api = api or _client().HfApi(library_name="nelbo")
        address = api.create_repo(repository.name, private=not public, exist_ok=True)
        api.upload_folder(repo_id=repository.name, folder_path=folder, commit_message="Upload a model by nelbo")
    return str(address)


def _client() -> Any:
    """The Hub's own client.

    Raises:
        ConfigurationError: it is not installed.
    """
    try:
        import huggingface_hub
    except ImportError as error:
        raise ConfigurationError(
            f"models of the Hub need the package huggingface_hub ({error}); pip install huggingface_hub, or fetch the "
            "files in another way and give their folder."
        ) from error
    return huggingface_hub


@contextmanager
def _as_a_sentence(what: str) -> Iterator[None]:
    """What goes wrong with the Hub as an error for a person."""
    try:
        yield
    except ConfigurationError:
        raise
    except Exception as error:  # the client lets errors of its HTTP library through, and that differs by version
        said = " ".join(str(error).split()) or type(error).__name__
        raise RunError(f"{what}: {said.rstrip('.')}. {_advice(error)}") from error


def _advice(error: Exception) -> str:
    """What to try next."""
    kinds = {kind.__name__ for kind in type(error).__mro__}
    if "OfflineModeIsEnabled" in kinds or os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE"):
        return "HF_HUB_OFFLINE is set: unset it, or fetch the files in another way and give their folder."
    if kinds & {"RepositoryNotFoundError", "GatedRepoError", "LocalTokenNotFoundError"}:
        return "Check the name; for what is private or to write, log in by `hf auth login` or set HF_TOKEN."
    return "Check the network, or fetch the files in another way and give their folder."
