"""Models that travel: diffusers' folders, programs of torch.export, and the Hub, read and written without diffusers."""

from nelbo.interop.exporting import Exported, export_model
from nelbo.interop.hub import Repository
from nelbo.interop.importing import Imported, import_model

__all__ = ["Exported", "Imported", "Repository", "export_model", "import_model"]
