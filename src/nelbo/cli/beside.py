"""Images for a model with what lies beside them: masks, a table and images to condition on."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from nelbo.cli.options import RESIZE

if TYPE_CHECKING:
    from nelbo.data import Prepared
    from nelbo.progress import Bars
    from nelbo.runs import Run


def read_images(model: Run, data: str, resize: bool, beside: dict[str, Any], bar: Bars) -> Prepared:
    """Read the images of a path or a name for a model, with what lies beside them.

    Args:
        beside: `mask`, `table` and `condition_images`, each a path or None.
    """
    from nelbo.data import Beside, Prepared, load_for_model
    from nelbo.data.missing import array_with_nan
    from nelbo.data.names import path_of
    from nelbo.data.stored import StoredImage

    array = array_with_nan(data)
    if array is not data:
        dataset = model.dataset_of(array)
        prepared = Prepared(dataset, [f"{data}[{i}]" for i in range(len(dataset))])
    else:
        progress, limits = bar.of("reading images"), model.config.data.range
        prepared = load_for_model(data, model.shape, resize=resize, progress=progress, limits=limits)
        dataset = model.dataset_of(prepared.images, remedy=RESIZE)
    own = Beside(**beside)
    if own.given:
        files = [StoredImage(name) for name in prepared.names]
        dataset = model.dataset_of(own.attached(dataset, files, path_of(data), resized=prepared.resized > 0))
    return replace(prepared, images=dataset)
