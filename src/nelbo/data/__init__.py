"""Data sets: folders, arrays, IDX files and shards, read as uint8 tensors N x C x H x W of levels 0..K-1."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
