"""The choice of a model and an image, which several tabs share."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr
import torch
from torch import Tensor

from nelbo.plots import sample_grid
from nelbo.studio.collection import Collection, Examples
from nelbo.studio.speaking import speaking

Choice = tuple[str, Tensor]  # a model, and an image (C, H, W) uint8

THUMBNAILS = 10  # in a row
Start = Callable[..., Any]  # registers a handler for the event that shows a tab, such as `gr.Tab.select`


@dataclass(frozen=True)
class Chooser:
    """A model, and one of its ten images or an upload; the next tab shows what was chosen last, if it can.

    Attributes:
        collection: of the page.
        names: the models that the tab can show.
        model: the component with the name of the model.
        image: the state with the chosen image, (C, H, W) uint8.
        caption, gallery, upload: where an image is chosen.
        last: the state with the last choice on any tab, (model, image); None before the first one.
    """

    collection: Collection
    names: Sequence[str]
    model: gr.Dropdown
    image: gr.State
    caption: gr.Markdown
    gallery: gr.Gallery
    upload: gr.File
    last: gr.State

    @classmethod
    def build(cls, collection: Collection, names: Sequence[str], last: gr.State) -> "Chooser":
        """Add the components to the page; the first image of the first model is chosen."""
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
        return cls(collection, names, model, gr.State(examples.images[0]), caption, gallery, upload, last)

    def on_choice(self, begin: Callable[[str, Tensor], tuple[Any, ...]], outputs: Sequence[Any], start: Start) -> None:
        """Call `begin(model, image)` when the tab is shown first, after each choice, and after a choice on another tab.

        Args:
            outputs: the components that get what `begin` returns; the first one of HTML shows the progress.
            start: the event that shows the tab.
        """
        collection, fresh = self.collection, gr.State(True)

        @speaking
        def other_model(name: str) -> tuple[Any, ...]:
            return (*self._of_model(name), collection.examples(name).images[0], None)

        @speaking
        def chosen(name: str, event: gr.SelectData) -> Tensor:
            images = collection.examples(name).images
            return images[min(int(event.index), len(images) - 1)]

        @speaking
        def uploaded(name: str, path: str) -> Tensor:
            return collection.upload(name, path)

        @speaking
        def shown(fresh: bool, last: Choice | None, name: str, image: Tensor) -> tuple[Any, ...]:
            if last is not None and last[0] in self.names and not same(last, (name, image)):
                parts = self._of_model(last[0]) if last[0] != name else (gr.skip(), gr.skip())
                return (False, last[0], *parts, last[1], None, *begin(*last))
            kept = [gr.skip()] * (len(parts_of_choice) + 1)
            return (False, *kept, *(begin(name, image) if fresh else [gr.skip()] * len(outputs)))

        given, found = [self.model, self.image], list(outputs)
        seen = [component for component in outputs if isinstance(component, gr.HTML)][:1]
        parts_of_choice = [self.caption, self.gallery, self.image, self.upload]
        for event in (
            self.model.input(other_model, self.model, parts_of_choice),
            self.gallery.select(chosen, self.model, self.image),
            self.upload.upload(uploaded, [self.model, self.upload], self.image),
        ):
            event.success(lambda *choice: choice, given, self.last, queue=False)
            event.success(begin, given, found, show_progress_on=seen)
        everything = [fresh, self.model, *parts_of_choice, *found]
        start(shown, [fresh, self.last, *given], everything, show_progress_on=seen)

    def _of_model(self, name: str) -> tuple[Any, ...]:
        """Return the caption and the pictures of a model's images."""
        return _label(self.collection.examples(name)), _thumbnails(self.collection, name)


def same(first: Choice, second: Choice) -> bool:
    """Return whether two choices are of one model and one image."""
    return first[0] == second[0] and torch.equal(first[1], second[1])


def _label(examples: Examples) -> str:
    return f"Click one of {len(examples.images)} {examples.origin}, or drop in your own:"


def _thumbnails(collection: Collection, name: str) -> list[Any]:
    """Return the example images of a model as pictures."""
    levels = collection.run(name).levels
    return [sample_grid(image[None], levels) for image in collection.examples(name).images]
