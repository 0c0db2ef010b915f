"""A model of photographs in a folder: it codes pictures of any size, and does nothing else."""

from dataclasses import dataclass
from pathlib import Path

from nelbo.codec.masking_chain import PictureCodec
from nelbo.display import Brief
from nelbo.errors import RunError
from nelbo.files import read_tensors, write_tensors
from nelbo.masking import MaskingModel
from nelbo.masking.storage import REMEDY, fingerprint_of, model_from, settings_of, tensors_of
from nelbo.runs.folder import MASKING_FILE, bundled_codecs
from nelbo.runs.integer_model import FILES

PHOTOGRAPHS = "photographs"  # the bundled model


@dataclass(frozen=True, eq=False)
class MaskingRun(Brief):
    """A model of photographs.

    Attributes:
        folder: where it is stored.
        model: the reverse of a process that masks pixels.
    """

    folder: Path
    model: MaskingModel

    @property
    def fingerprint(self) -> bytes:
        """32 bytes that identify the model of a file."""
        return fingerprint_of(self.model)

    @property
    def channels(self) -> int:
        """C of the pictures: 3 for colour."""
        return self.model.channels

    def save(self) -> None:
        """Write it into its folder."""
        metadata = {FILES: self.fingerprint.hex(), "settings": settings_of(self.model)}
        write_tensors(self.folder / MASKING_FILE, tensors_of(self.model), metadata)

    @classmethod
    def load(cls, folder: Path) -> "MaskingRun":
        """Read the model of a folder.

        Raises:
            RunError: its file is missing or damaged.
        """
        path = folder / MASKING_FILE
        tensors, metadata = read_tensors(path)
        try:
            found = cls(folder, model_from(metadata.get("settings", {}), tensors))
        except RunError as error:
            raise RunError(f"{path}: {error.marked}") from error
        if metadata.get(FILES) != found.fingerprint.hex():
            raise RunError(f"{path} is damaged: its tensors do not match its fingerprint; {REMEDY}")
        return found

    def codec(self) -> PictureCodec:
        """Return the codec of files.

        Raises:
            CodecError: the arithmetic of this machine is not exact.
        """
        return PictureCodec(self.model, self.fingerprint)


def photographs() -> MaskingRun:
    """Return the bundled model of colour photographs.

    >>> photographs().channels
    3

    Raises:
        RunError: it is not installed.
    """
    folder = bundled_codecs().get(PHOTOGRAPHS)
    if folder is None:
        raise RunError("the model of photographs is missing in this installation; install nelbo again.")
    return MaskingRun.load(folder)
