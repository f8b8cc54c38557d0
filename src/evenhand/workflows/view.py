"""Show the runs under a folder as a local web page."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

from evenhand.core import DataError, EvenhandError
from evenhand.serve.guards import Guards, allowed_host, token_of_environment

SECONDS = 2.0  # for pages under way when it ends


def view(
    folder: str | Path,
    *,
    host: str = "127.0.0.1",
    port: int = 8765,
    show_text: bool = False,
    ready: Callable[[str], None] = lambda address: None,
) -> None:
    """Serve the page until it is interrupted. Everything is read and nothing written; only this machine reaches it, unless `host` says more.

    Args:
        folder: Folder under which the runs lie, at any depth.
        host: Where to listen. Any other place than this machine (127.0.0.1, ::1, localhost) needs a token of at least 32 bytes in EVENHAND_TOKEN.
        port: Port to listen on; 0 = a free one.
        show_text: Show raw texts where a run has private files of them (--show-examples).
        ready: called with the address once it can be opened.

    Raises EvenhandError where there is no such folder, no token for that host, or no such port, or the extra "serve" is not installed.
    """
    application = guarded(folder, host=host, token=token_of_environment(), show_text=show_text)
    from evenhand.serve.listening import listen

    try:
        listen(application, host, port, told=lambda address: ready(f"{address}/"), seconds=SECONDS)
    except KeyboardInterrupt:  # how it ends
        return


def guarded(folder: str | Path, *, host: str, token: str | None, show_text: bool = False) -> Guards:
    """The page as an ASGI application behind its guards. Raises EvenhandError as `view` does."""
    if not Path(folder).is_dir():
        raise DataError("there is no such folder", expected="a folder of runs", remedy="name the one that verbs wrote to", file=str(folder))
    allowed_host(host, token)
    if any(find_spec(name) is None for name in ("fastapi", "uvicorn")):
        raise EvenhandError("fastapi or uvicorn is not installed. Expected: the extra 'serve'. To do: pip install 'evenhand[serve]'.")
    from evenhand.viewer.app import application

    return Guards(application(Path(folder), show_text=show_text), host=host, token=token, most_bytes=0)
