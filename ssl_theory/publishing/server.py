"""A local web server for the built book."""

from __future__ import annotations

import functools
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from ssl_theory.publishing.errors import UsageError

PORT = 8000


def server(html: Path, port: int | None = None) -> ThreadingHTTPServer:
    """Return a server of a folder on this machine only, on the port given or the first free one from 8000.

    Raises:
        UsageError: If the folder holds no built book, or the port is taken.
    """
    if not (html / "index.html").exists():
        raise UsageError(f"there is no built book in {html}; build it first: ssl-theory build")
    handler = functools.partial(SimpleHTTPRequestHandler, directory=str(html))
    for candidate in [port] if port is not None else [*range(PORT, PORT + 20), 0]:
        try:
            return ThreadingHTTPServer(("127.0.0.1", candidate), handler)
        except OSError as error:
            failure = error
    raise UsageError(f"port {port} cannot be used: {failure}")
