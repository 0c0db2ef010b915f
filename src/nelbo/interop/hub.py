"""The Hugging Face Hub. Only this module imports its client, and only when it is used."""

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
    """A model repository on the Hub.

    Attributes:
        name: "owner/name".
        revision: a branch, tag or commit, or None for the newest.
    """

    name: str
    revision: str | None = None

    @classmethod
    def named(cls, place: str | os.PathLike[str]) -> Self | None:
        """Parse "hf:owner/name" or "hf:owner/name@revision"; return None for a path.

        >>> Repository.named("hf:google/ddpm-cifar10-32")
        Repository(name='google/ddpm-cifar10-32', revision=None)

        Raises:
            ConfigurationError: a malformed reference: "hf:" without owner and name.
        """
        if not str(place).startswith(PREFIX):
            return None
        match = NAME.fullmatch(str(place).removeprefix(PREFIX))
        if match is None:
            raise ConfigurationError(
                f"malformed reference {str(place)!r}; expected hf:owner/name, or hf:owner/name@revision."
            )
        return cls(match["name"], match["revision"])

    def __str__(self) -> str:
        return f"{PREFIX}{self.name}" + (f"@{self.revision}" if self.revision else "")


def download(repository: Repository, files: Sequence[str]) -> Path:
    """Download those of `files` that the repository has, and return their folder in the Hub's cache.

    Without a network connection, or with HF_HUB_OFFLINE=1, the cache serves files of an earlier download.

    Raises:
        ConfigurationError: the client is not installed.
        RunError: the repository does not exist, or the Hub is unreachable and the cache does not have the files.
    """
    with _hub_errors(f"{repository} cannot be downloaded"):
        fetched = _client().snapshot_download(
            repository.name, revision=repository.revision, allow_patterns=list(files), library_name="nelbo"
        )
    return Path(fetched)


def upload(folder: Path, repository: Repository, *, public: bool = False, api: Any = None) -> str:
    """Upload the contents of a folder to a repository, create it if it does not exist, and return its address.

    Args:
        public: make a new repository public; an existing one keeps its visibility.
        api: an object with the methods `create_repo` and `upload_folder` of `huggingface_hub.HfApi`; None for that.

    Raises:
        ConfigurationError: the client is not installed, or the reference has a revision.
        RunError: nobody is logged in, the account may not write there, or the Hub is unreachable.
    """
    if repository.revision:
        raise ConfigurationError(f"{repository} has a revision; leave @{repository.revision} out to upload.")
    with _hub_errors(f"{repository} cannot be written"):
        api = api or _client().HfApi(library_name="nelbo")
        address = api.create_repo(repository.name, private=not public, exist_ok=True)
        api.upload_folder(repo_id=repository.name, folder_path=folder, commit_message="Upload a model by nelbo")
    return str(address)


def _client() -> Any:
    """Import the Hub's client.

    Raises:
        ConfigurationError: it is not installed.
    """
    try:
        import huggingface_hub
    except ImportError as error:
        raise ConfigurationError(
            f"models on the Hub need the package huggingface_hub ({error}); run pip install huggingface_hub, or "
            "download the files in another way and give their folder."
        ) from error
    return huggingface_hub


@contextmanager
def _hub_errors(what: str) -> Iterator[None]:
    """Turn an error of the Hub's client into a `RunError` of one line with advice."""
    try:
        yield
    except ConfigurationError:
        raise
    except Exception as error:  # the client also raises errors of its HTTP library, which differs by version
        message = " ".join(str(error).split()) or type(error).__name__
        raise RunError(f"{what}: {message.rstrip('.')}. {_advice(error)}") from error


def _advice(error: Exception) -> str:
    """Say what to try next."""
    kinds = {kind.__name__ for kind in type(error).__mro__}
    if "OfflineModeIsEnabled" in kinds or os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE"):
        return "HF_HUB_OFFLINE is set: unset it, or download the files in another way and give their folder."
    if kinds & {"RepositoryNotFoundError", "GatedRepoError", "LocalTokenNotFoundError"}:
        return "Check the name; to write, or to read a private repository, log in with `hf auth login` or set HF_TOKEN."
    return "Check the network, or download the files in another way and give their folder."
