from .exporting import Exported, export_model
from .hub import Repository
from .importing import Imported, import_model

__all__ = ["Exported", "Imported", "Repository", "export_model", "import_model"]
