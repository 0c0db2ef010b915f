"""Errors and warnings on the page: the library's own sentences, with options named as on the page."""

import functools
import inspect
from collections.abc import Callable
from typing import Any, TypeVar

import gradio as gr

from nelbo.errors import SETTING, NelboError, NelboWarning

BAR = gr.Progress()  # the default of a handler's argument `progress`, which Gradio replaces

NAMES = {"label": "the class", "num": "the number of images"}  # of fields of the page

Handler = TypeVar("Handler", bound=Callable[..., Any])


def on_page(name: str, value: str | None) -> str:
    """Write an option as the page does.

    >>> on_page("steps", "0"), on_page("recipe.training.minutes", None), on_page("label", None)
    ('steps 0', 'training minutes', 'the class')
    """
    words = NAMES.get(name) or name.removeprefix(SETTING).replace("_", " ").replace(".", " ")
    return words if value is None else f"{words} {value}"


def speaking(handler: Handler) -> Handler:
    """Return a handler of the page that shows a `NelboError` as a message instead of failing."""
    if inspect.isgeneratorfunction(handler):

        @functools.wraps(handler)
        def streamed(*args: Any) -> Any:
            try:
                yield from handler(*args)
            except NelboError as error:
                raise _said(error) from None

        return streamed  # type: ignore[return-value]

    @functools.wraps(handler)
    def answered(*args: Any) -> Any:
        try:
            return handler(*args)
        except NelboError as error:
            raise _said(error) from None

    return answered  # type: ignore[return-value]


def warn_on_page(message: Warning | str, *_: object, **__: object) -> None:
    """Show a warning of nelbo to the visitor whose request caused it: `warnings.showwarning` of a server."""
    if isinstance(message, NelboWarning):
        gr.Warning(message.message(on_page), title="note")


def _said(error: NelboError) -> gr.Error:
    return gr.Error(error.message(on_page), title="nelbo", print_exception=False)
