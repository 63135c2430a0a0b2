"""A local web server for the built book."""

from __future__ import annotations

import functools
import re
from http import HTTPStatus
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote

from ssl_theory.publishing.errors import UsageError

PORT = 8000
NAMES = ("127.0.0.1", "localhost")  # of this machine; others are pages elsewhere that were led here


class _Handler(SimpleHTTPRequestHandler):
    """Hands out the files of a folder, and nothing else: no lists of files, nothing outside of it."""

    def send_head(self):  # type: ignore[no-untyped-def]  # as in the base class
        if re.sub(r":\d+$", "", self.headers.get("Host", NAMES[0])) not in NAMES:
            self.send_error(HTTPStatus.MISDIRECTED_REQUEST)
            return None
        if not self._inside():
            self.send_error(HTTPStatus.NOT_FOUND)
            return None
        return super().send_head()

    def list_directory(self, path: object) -> None:
        """Answer for a folder without a page."""
        self.send_error(HTTPStatus.NOT_FOUND)

    def log_request(self, code: object = "-", size: object = "-") -> None:
        """Say nothing about what went well."""

    def _inside(self) -> bool:
        """Return whether the path names something in the folder, not through a link that leads out of it."""
        if "\0" in unquote(self.path):
            return False
        return Path(self.translate_path(self.path)).resolve().is_relative_to(Path(self.directory).resolve())


def server(html: Path, port: int | None = None) -> ThreadingHTTPServer:
    """Return a server of a folder on this machine only, on the port given or the first free one from 8000.

    Raises:
        UsageError: If the folder holds no built book, or the port is taken or not a port.
    """
    if port is not None and not 1 <= port <= 65535:
        raise UsageError(f"port must lie between 1 and 65535, got {port}")
    if not (html / "index.html").exists():
        raise UsageError(f"there is no built book in {html}; build it first: ssl-theory build")
    handler = functools.partial(_Handler, directory=str(html))
    for candidate in [port] if port is not None else [*range(PORT, PORT + 20), 0]:
        try:
            return ThreadingHTTPServer(("127.0.0.1", candidate), handler)
        except OSError as error:
            failure = error
    raise UsageError(f"port {port} cannot be used: {failure}")
