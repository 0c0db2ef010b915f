"""The model of `nelbo compress`: a diffusion model, or a model of photographs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from nelbo.errors import ConfigurationError

if TYPE_CHECKING:
    from nelbo.codec import ProgressiveCodec
    from nelbo.data.names import Range
    from nelbo.runs import DiffusionRun


@dataclass(frozen=True)
class Chosen:
    """The model that compresses.

    Attributes:
        name: as the user named it.
        codec: its codec.
        run: the diffusion model; None for a model of photographs.
    """

    name: str
    codec: ProgressiveCodec
    run: DiffusionRun | None = None

    @classmethod
    def of(cls, model: str | None, batch_size: int, integers: bool | None, device: str | None) -> Chosen:
        """Load the model that was named, or the bundled one of photographs.

        Raises:
            ConfigurationError: --integers or --no-integers for a model of photographs.
        """
        from nelbo.runs import DiffusionRun, MaskingRun, codes_photographs, find_codec, load_as, photographs

        folder = None if model is None else find_codec(model)
        if model is not None and folder is not None and not codes_photographs(folder):
            run = load_as(DiffusionRun, model, device=device)
            return cls(model, run.codec(batch_size, integers=integers), run)
        found = photographs() if folder is None else MaskingRun.load(folder)
        if integers is not None:
            flag = "--integers" if integers else "--no-integers"
            raise ConfigurationError(f"{flag} is for diffusion models; remove it, or choose one with --model.")
        return cls(model or "the model of photographs", found.codec())

    @property
    def limits(self) -> Range | None:
        """The range of the pixels; None for that of the files."""
        return None if self.run is None else self.run.config.data.range

    def of_bound(self) -> DiffusionRun:
        """Return the diffusion model whose bound a report compares with.

        Raises:
            ConfigurationError: it is a model of photographs.
        """
        if self.run is None:
            raise ConfigurationError(f"--report needs a diffusion model, and {self.name} is not one.")
        return self.run
