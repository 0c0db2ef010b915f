"""The integer model in a run folder, by which archives and files of version 2 are coded."""

import hashlib
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from nelbo.codec import ArchiveCodec, ProgressiveCodec
from nelbo.codec.channel_plan import ChannelPlan
from nelbo.codec.lattice_chain import LatticeChain
from nelbo.display import Brief
from nelbo.errors import ConfigurationError, RunError
from nelbo.files import hash_tensors, read_tensors, write_tensors
from nelbo.lattice import LatticeModel
from nelbo.lattice.storage import REMEDY, fingerprint_of, model_from, settings_of, tensors_of
from nelbo.options import check_whole

INTEGER_FILE = "integers.safetensors"
ARCHIVES, FILES = "fingerprint", "files"  # entries of its metadata: what archives and files state of their model
CHANNEL = "channel."  # of the names of the tensors of the channel


@dataclass(frozen=True, eq=False)
class IntegerModel(Brief):
    """An integer model with the tables of its channel.

    Attributes:
        model: the chain and the pixel network.
        plan: tables of the channel.
    """

    model: LatticeModel
    plan: ChannelPlan

    @property
    def fingerprint(self) -> bytes:
        """32 bytes that identify the model of an archive."""
        return fingerprint_of(self.model)

    @property
    def file_fingerprint(self) -> bytes:
        """32 bytes that identify the model of a file: SHA-256 over `fingerprint` and the tables of the channel."""
        digest = hashlib.sha256(self.fingerprint)
        hash_tensors(digest, self.plan.tensors())
        return digest.digest()

    def save(self, folder: Path) -> None:
        """Write it into a run folder."""
        channel = {CHANNEL + name: tensor for name, tensor in self.plan.tensors().items()}
        fingerprints = {ARCHIVES: self.fingerprint.hex(), FILES: self.file_fingerprint.hex()}
        write_tensors(
            folder / INTEGER_FILE,
            {**tensors_of(self.model), **channel},
            {**fingerprints, "settings": settings_of(self.model)},
        )

    @classmethod
    def load(cls, folder: Path) -> "IntegerModel":
        """Read the integer model of a run.

        Raises:
            ConfigurationError: it has not been trained.
            RunError: its file is damaged.
        """
        path = folder / INTEGER_FILE
        if not path.is_file():
            raise ConfigurationError(
                f"{folder} has no integer model: {INTEGER_FILE} is missing; train it once with `nelbo codec --integers "
                f"{folder}`, on the run's training images."
            )
        tensors, metadata = read_tensors(path)
        channel = {name.removeprefix(CHANNEL): tensors.pop(name) for name in list(tensors) if name.startswith(CHANNEL)}
        try:
            model = model_from(metadata.get("settings", {}), tensors)
        except RunError as error:
            raise RunError(f"{path}: {error.marked}") from error
        with suppress(RunError):  # its remedy is that of a codec plan
            found = cls(model, ChannelPlan.from_tensors(channel))
            fits = found.plan.expected.shape == (model.chain.steps, model.chain.linear.mean.numel())
            stated = metadata.get(ARCHIVES), metadata.get(FILES)
            if fits and stated == (found.fingerprint.hex(), found.file_fingerprint.hex()):
                return found
        raise RunError(f"{path} is damaged: its tensors do not match its fingerprint; {REMEDY}")

    def archive_codec(self) -> ArchiveCodec:
        """Return the codec of archives.

        Raises:
            CodecError: the arithmetic of this machine is not exact.
        """
        return ArchiveCodec(self.model, self.fingerprint)

    def codec(self, batch_size: int = 8) -> ProgressiveCodec:
        """Return the codec of files of version 2.

        Args:
            batch_size: tiles that pass through the networks together.

        Raises:
            CodecError: the arithmetic of this machine is not exact.
        """
        check_whole("batch_size", batch_size)
        channels, height, width = self.model.chain.linear.mean.shape
        chain = LatticeChain(self.model, self.plan, batch_size)
        return ProgressiveCodec(chain, self.file_fingerprint, (channels, height, width))
