from .app import CSS, MOST_UPLOADED, build, launch, theme
from .collection import Collection

__all__ = ["CSS", "MOST_UPLOADED", "Collection", "build", "launch", "theme"]
