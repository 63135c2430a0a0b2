from __future__ import annotations

import http.client
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ssl_theory.publishing.errors import UsageError
from ssl_theory.publishing.server import server

Get = Callable[..., tuple[int, bytes]]


@pytest.fixture
def site(tmp_path: Path) -> Path:
    folder = tmp_path / "html"
    (folder / "empty").mkdir(parents=True)
    (folder / "part").mkdir()
    (folder / "index.html").write_text("hello", encoding="utf-8")
    (folder / "part" / "index.html").write_text("part", encoding="utf-8")
    (folder / "empty" / "file.txt").write_text("a file", encoding="utf-8")
    (tmp_path / "secret.txt").write_text("secret", encoding="utf-8")
    (folder / "link.txt").symlink_to(tmp_path / "secret.txt")
    (folder / "inner.txt").symlink_to("empty/file.txt")
    return folder


@pytest.fixture
def get(site: Path) -> Iterator[Get]:
    """Run a server.

    Yields:
        A function that asks it for a path and returns status and body.
    """
    with server(site) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()

        def ask(path: str, **headers: str) -> tuple[int, bytes]:
            connection = http.client.HTTPConnection("127.0.0.1", running.server_port)
            connection.request("GET", path, headers=headers)
            answer = connection.getresponse()
            found = answer.status, answer.read()
            connection.close()
            return found

        yield ask
        running.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/", b"hello"),
        ("/index.html?x=1", b"hello"),
        ("/part/", b"part"),
        ("/empty/file.txt", b"a file"),
        ("/inner.txt", b"a file"),
    ],
)
def test_the_book_is_served_without_a_word(
    get: Get, capfd: pytest.CaptureFixture[str], path: str, body: bytes
) -> None:
    assert get(path) == (200, body)
    assert get(path, Host="localhost:8000") == (200, body)
    assert get(path, Host="localhost") == (200, body)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    "path", ["/empty/", "/%00", "/link.txt", "/../secret.txt", "/%2e%2e/secret.txt", "/none"]
)
def test_there_is_nothing_else(get: Get, capfd: pytest.CaptureFixture[str], path: str) -> None:
    status, body = get(path)
    assert status == 404
    assert b"secret" not in body.replace(b"secret.txt", b"")
    assert "Traceback" not in capfd.readouterr().err


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8000", "127.0.0.1.evil.example", "[", ""])
def test_pages_led_here_by_another_name_get_nothing(get: Get, host: str) -> None:
    assert get("/", Host=host)[0] == 421


def test_what_cannot_be_served_is_told(site: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no built book"):
        server(tmp_path)
    for port in (0, -1, 65536):
        with pytest.raises(UsageError, match=f"port must lie between 1 and 65535, got {port}"):
            server(site, port)
    with (
        server(site) as running,
        pytest.raises(UsageError, match=f"port {running.server_port} cannot be used"),
    ):
        server(site, running.server_port)
