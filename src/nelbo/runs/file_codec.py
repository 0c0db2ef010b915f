"""The codec that decodes files of a known maker, loaded without what it does not need."""

from pathlib import Path

from nelbo.codec import ProgressiveCodec
from nelbo.runs.codec_plan import made_by_integers, made_by_masking
from nelbo.runs.diffusion_run import DiffusionRun
from nelbo.runs.folder import CONFIG_FILE, codes_photographs
from nelbo.runs.integer_model import IntegerModel
from nelbo.runs.loading import load_as
from nelbo.runs.masking_run import MaskingRun


def codec_for(folder: Path, maker: bytes, batch_size: int = 8, device: str | None = None) -> ProgressiveCodec:
    """Return the codec of a run folder that decodes files by `maker`. An integer model needs no diffusion network.

    Args:
        maker: the fingerprint in the files, or its first bytes.
        batch_size: tiles that pass through the networks together.
        device: of a diffusion network.

    Raises:
        NelboError: see `IntegerModel.load`, `nelbo.load` and `load_codec`.
    """
    if codes_photographs(folder) and (made_by_masking(folder, maker) or not (folder / CONFIG_FILE).is_file()):
        return MaskingRun.load(folder).codec()
    if made_by_integers(folder, maker):
        return IntegerModel.load(folder).codec(batch_size)
    return load_as(DiffusionRun, folder, device=device).codec(batch_size, maker=maker)
