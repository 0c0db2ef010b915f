"""The choice of a model and an image, which several tabs share."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr
from torch import Tensor

from nelbo.plots import sample_grid
from nelbo.studio.collection import Collection, Examples
from nelbo.studio.speaking import speaking

THUMBNAILS = 10  # in a row
Start = Callable[..., Any]  # registers a handler for the event that shows a tab, such as `gr.Tab.select`


@dataclass(frozen=True)
class Chooser:
    """A model, and one of its ten images or an upload.

    Attributes:
        collection: of the page.
        model: the component with the name of the model.
        image: the state with the chosen image, (C, H, W) uint8.
        caption, gallery, upload: where an image is chosen.
    """

    collection: Collection
    model: gr.Dropdown
    image: gr.State
    caption: gr.Markdown
    gallery: gr.Gallery
    upload: gr.File

    @classmethod
    def build(cls, collection: Collection, names: Sequence[str]) -> "Chooser":
        """Add the components to the page; the first image of the first model is chosen.

        Args:
            names: the models that the tab can show.
        """
        examples = collection.examples(names[0])
        model = gr.Dropdown(list(names), value=names[0], label="model", visible=len(names) > 1, filterable=False)
        with gr.Row():
            with gr.Column(scale=4):
                caption = gr.Markdown(_label(examples))
                gallery = gr.Gallery(
                    _thumbnails(collection, names[0]),
                    show_label=False,
                    columns=THUMBNAILS,
                    allow_preview=False,
                    object_fit="contain",
                    height="auto",
                    elem_classes="thumbnails",
                    buttons=[],
                )
            upload = gr.File(type="filepath", file_types=["image"], label="or your own image", height=150, scale=1)
        return cls(collection, model, gr.State(examples.images[0]), caption, gallery, upload)

    def on_choice(self, begin: Callable[[str, Tensor], tuple[Any, ...]], outputs: Sequence[Any], start: Start) -> None:
        """Call `begin(model, image)` when the tab is shown first, and after each choice.

        Args:
            outputs: the components that get what `begin` returns.
            start: the event that shows the tab.
        """
        collection, fresh = self.collection, gr.State(True)

        @speaking
        def other_model(name: str) -> tuple[Any, ...]:
            examples = collection.examples(name)
            return _label(examples), _thumbnails(collection, name), examples.images[0], None

        @speaking
        def chosen(name: str, event: gr.SelectData) -> Tensor:
            images = collection.examples(name).images
            return images[min(int(event.index), len(images) - 1)]

        @speaking
        def uploaded(name: str, path: str) -> Tensor:
            return collection.upload(name, path)

        def first(fresh: bool, name: str, image: Tensor) -> Any:
            return (False, *begin(name, image)) if fresh else tuple(gr.skip() for _ in range(1 + len(outputs)))

        given, found = [self.model, self.image], list(outputs)
        parts = [self.caption, self.gallery, self.image, self.upload]
        self.model.input(other_model, self.model, parts).success(begin, given, found)
        self.gallery.select(chosen, self.model, self.image).success(begin, given, found)
        self.upload.upload(uploaded, [self.model, self.upload], self.image).success(begin, given, found)
        start(first, [fresh, *given], [fresh, *found])


def _label(examples: Examples) -> str:
    return f"Click one of {len(examples.images)} {examples.origin}, or drop in your own:"


def _thumbnails(collection: Collection, name: str) -> list[Any]:
    """Return the example images of a model as pictures."""
    levels = collection.run(name).levels
    return [sample_grid(image[None], levels) for image in collection.examples(name).images]
