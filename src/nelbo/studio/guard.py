"""Requests that the page does not answer: those for another host, and those from the page of another site."""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import urlsplit

from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.responses import PlainTextResponse

HOSTS = ("127.0.0.1", "localhost")

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]


class OwnOrigin:
    """Refuse a request whose header Origin names another host: a foreign page in the visitor's browser sends it.

    Args:
        app: what answers the other requests.
    """

    def __init__(self, app: App) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] in ("http", "websocket"):
            origins = [value.decode("latin-1") for name, value in scope["headers"] if name.lower() == b"origin"]
            if any(not is_own(origin) for origin in origins):
                await PlainTextResponse("this origin is not allowed", 403)(scope, receive, send)
                return
        await self.app(scope, receive, send)


def is_own(origin: str) -> bool:
    """Return whether an origin is this computer.

    >>> is_own("http://127.0.0.1:7860"), is_own("http://localhost"), is_own("https://example.org"), is_own("null")
    (True, True, False, False)
    """
    try:
        return urlsplit(origin).hostname in HOSTS
    except ValueError:
        return False


GUARDS = [Middleware(TrustedHostMiddleware, allowed_hosts=list(HOSTS)), Middleware(OwnOrigin)]
