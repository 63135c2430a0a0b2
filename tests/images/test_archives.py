"""Archives in the true formats, small ones, served by a small server."""

from __future__ import annotations

import errno
import hashlib
import io
import resource
import subprocess
import sys
import tarfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import torch

from ssl_theory.images import archives, load_images
from ssl_theory.images.archives import ARCHIVES, Archive, unpacked

Files = dict[str, bytes]


def packed(files: Files) -> bytes:
    """Return a .tar.gz that holds the files."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return stream.getvalue()


def cifar_image(label: int) -> np.ndarray:
    """Return a picture, (3, 32, 32), whose pixels tell channel, row and column apart."""
    channel, row, column = np.indices((3, 32, 32))
    return (100 * channel + 3 * row + column // 2 + label).astype(np.uint8)


def cifar_record(label: int) -> bytes:
    image = cifar_image(label)
    planes = [bytes(int(image[c, i, j]) for i in range(32) for j in range(32)) for c in range(3)]
    return bytes([label]) + b"".join(planes)


def stl_image(label: int) -> np.ndarray:
    channel, row, column = np.indices((3, 96, 96))
    return (80 * channel + row // 2 + column % 30 + label).astype(np.uint8)


def stl_record(label: int) -> bytes:
    image = stl_image(label)
    return b"".join(bytes(int(image[c, i, j]) for j in range(96) for i in range(96)) for c in range(3))


def cifar_files() -> Files:
    batches = {f"data_batch_{i}.bin": cifar_record(i) + cifar_record(9 - i) for i in range(1, 6)}
    batches["test_batch.bin"] = cifar_record(7) + cifar_record(0) + cifar_record(9)
    return {f"cifar-10-batches-bin/{name}": content for name, content in batches.items()}


def stl_files() -> Files:
    files = {
        "train_X.bin": stl_record(4) + stl_record(0),
        "train_y.bin": bytes([5, 1]),
        "test_X.bin": stl_record(9),
        "test_y.bin": bytes([10]),
        "unlabeled_X.bin": stl_record(2) + stl_record(3) + stl_record(6),
    }
    return {f"stl10_binary/{name}": content for name, content in files.items()}


class Server:
    """Serves one body; `keep` cuts it short after so many bytes."""

    def __init__(self) -> None:
        self.body, self.keep, self.status, self.asked = b"", None, 200, 0
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.asked += 1
                self.send_response(outer.status)
                self.send_header("Content-Length", str(len(outer.body)))
                self.end_headers()
                self.wfile.write(outer.body[: outer.keep])

            def log_message(self, *_: object) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}"


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    thread = threading.Thread(target=server.http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.http.shutdown()
    server.http.server_close()
    thread.join()


@pytest.fixture
def offered(server: Server, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Archive]:
    """Return a function that makes an archive of files what the library knows and the server sends."""

    def offer(name: str, files: Files) -> Archive:
        server.body = packed(files)
        known = ARCHIVES[name]
        archive = replace(
            known,
            url=f"{server.url}/{Path(known.url).name}",
            sha256=hashlib.sha256(server.body).hexdigest(),
            sizes={Path(file).name: len(content) for file, content in files.items()},
        )
        monkeypatch.setitem(archives.ARCHIVES, name, archive)
        return archive

    return offer


def left_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir() if not path.name.endswith(".lock")}


def test_cifar10(offered: Callable[..., Archive], server: Server, tmp_path: Path) -> None:
    offered("cifar10", cifar_files())
    train = load_images("cifar10", folder=tmp_path)
    assert train.labels.tolist() == [1, 8, 2, 7, 3, 6, 4, 5, 5, 4]
    assert train.images.dtype == torch.uint8
    expected = np.stack([cifar_image(label) for label in train.labels.tolist()])
    assert torch.equal(train.images, torch.from_numpy(expected))
    unit = expected / 255
    assert np.allclose(train.mean, unit.mean((0, 2, 3)), atol=1e-6)
    assert np.allclose(train.std, unit.std((0, 2, 3)), atol=1e-6)
    test = load_images("cifar10", "test", folder=tmp_path, download=False)
    assert test.labels.tolist() == [7, 0, 9]
    assert torch.equal(test.images[1], torch.from_numpy(cifar_image(0)))
    assert torch.equal(test.mean, train.mean)
    assert server.asked == 1
    assert left_in(tmp_path) == {"cifar-10-binary.tar.gz", "cifar-10-batches-bin"}


def test_stl10_is_column_major_and_counts_labels_from_one(
    offered: Callable[..., Archive], tmp_path: Path
) -> None:
    offered("stl10", stl_files())
    train = load_images("stl10", folder=tmp_path)
    assert train.labels.tolist() == [4, 0]
    assert torch.equal(train.images, torch.from_numpy(np.stack([stl_image(4), stl_image(0)])))
    test = load_images("stl10", "test", folder=tmp_path)
    assert test.labels.tolist() == [9]
    others = load_images("stl10", "unlabelled", folder=tmp_path)
    assert others.labels.tolist() == [-1] * 3
    assert torch.equal(others.images[2], torch.from_numpy(stl_image(6)))
    assert torch.equal(others.std, train.std)


def test_an_archive_put_there_by_hand_is_enough(
    offered: Callable[..., Archive], server: Server, tmp_path: Path
) -> None:
    offered("stl10", stl_files())
    (tmp_path / "stl10_binary.tar.gz").write_bytes(server.body)
    assert len(load_images("stl10", folder=tmp_path, download=False)) == 2
    assert server.asked == 0


def test_the_cache_folder_of_the_user(
    offered: Callable[..., Archive], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    offered("stl10", stl_files())
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    load_images("stl10")
    assert (tmp_path / "ssl-theory" / "stl10_binary" / "train_X.bin").is_file()


def test_absent_and_offline_one_line_says_what_to_put_where(
    offered: Callable[..., Archive], server: Server, tmp_path: Path
) -> None:
    archive = offered("cifar10", cifar_files())
    advice = f"put cifar-10-binary.tar.gz from {archive.url} there"
    with pytest.raises(FileNotFoundError) as refused:
        load_images("cifar10", folder=tmp_path / "none", download=False)
    assert str(refused.value) == f"cifar10 is not in {tmp_path / 'none'}: {advice}"
    assert not (tmp_path / "none").exists()
    server.status = 404
    with pytest.raises(FileNotFoundError) as refused:
        load_images("cifar10", folder=tmp_path)
    assert str(refused.value) == f"cifar10 is not in {tmp_path} and cannot be fetched (HTTPError): {advice}"
    server.http.server_close()
    server.http.shutdown()
    with pytest.raises(
        FileNotFoundError, match=r"cannot be fetched \(ConnectionError\): put cifar"
    ) as refused:
        load_images("cifar10", folder=tmp_path)
    assert refused.value.__suppress_context__
    assert left_in(tmp_path) == set()


def test_an_interrupted_download_leaves_nothing(
    offered: Callable[..., Archive], server: Server, tmp_path: Path
) -> None:
    offered("cifar10", cifar_files())
    server.keep = len(server.body) // 2
    with pytest.raises(FileNotFoundError, match="cifar10 is not in .* and cannot be fetched"):
        load_images("cifar10", folder=tmp_path)
    assert left_in(tmp_path) == set()
    server.keep = None
    assert len(load_images("cifar10", folder=tmp_path)) == 10


def test_another_file_sent_leaves_nothing(
    offered: Callable[..., Archive], server: Server, tmp_path: Path
) -> None:
    offered("cifar10", cifar_files())
    server.body = packed(stl_files())
    with pytest.raises(OSError, match="sent another file than cifar10"):
        load_images("cifar10", folder=tmp_path)
    assert left_in(tmp_path) == set()


@pytest.mark.parametrize("content", [b"", b"another file", None])
def test_a_truncated_or_wrong_archive_is_refused(
    content: bytes | None, offered: Callable[..., Archive], server: Server, tmp_path: Path
) -> None:
    offered("cifar10", cifar_files())
    path = tmp_path / "cifar-10-binary.tar.gz"
    path.write_bytes(server.body[:-20] if content is None else content)
    with pytest.raises(OSError, match=r"tar.gz is damaged or another file \(its SHA-256 is not"):
        load_images("cifar10", folder=tmp_path)
    assert left_in(tmp_path) == {path.name}
    assert server.asked == 0


@pytest.fixture
def full_disc() -> Iterator[Callable[[int], None]]:
    """Yield a function that lets no file grow beyond so many bytes: the write fails, as on a full disc."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda room: resource.setrlimit(resource.RLIMIT_FSIZE, (room, before[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_disc_that_fills_up_leaves_nothing(
    offered: Callable[..., Archive],
    server: Server,
    full_disc: Callable[[int], None],
    tmp_path: Path,
) -> None:
    archive = offered("cifar10", cifar_files())
    full_disc(len(server.body) // 2)
    with pytest.raises(OSError, match=r"\[Errno") as refused:
        unpacked(archive, tmp_path)
    assert refused.value.errno == errno.EFBIG
    assert left_in(tmp_path) == set()

    full_disc(len(server.body))  # room for the archive, none for what is in it
    with pytest.raises(OSError, match=r"\[Errno") as refused:
        unpacked(archive, tmp_path)
    assert refused.value.errno == errno.EFBIG
    assert left_in(tmp_path) == {"cifar-10-binary.tar.gz"}


def test_a_process_killed_while_unpacking_leaves_no_half_folder(
    offered: Callable[..., Archive], server: Server, tmp_path: Path
) -> None:
    archive = offered("cifar10", cifar_files())
    (tmp_path / "cifar-10-binary.tar.gz").write_bytes(server.body)
    dies = (
        "import os, signal, sys, tarfile\n"
        "from pathlib import Path\n"
        "from dataclasses import replace\n"
        "from ssl_theory.images.archives import ARCHIVES, unpacked\n"
        "original = tarfile.TarFile.extractall\n"
        "def extractall(self, path, **options):\n"
        "    self.extract(self.getmembers()[0], path, filter='data')\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
        "tarfile.TarFile.extractall = extractall\n"
        "unpacked(replace(ARCHIVES['cifar10'], sha256=sys.argv[2]), Path(sys.argv[1]))\n"
    )
    done = subprocess.run([sys.executable, "-c", dies, str(tmp_path), archive.sha256], check=False)
    assert done.returncode == -9
    assert not (tmp_path / archive.inside).exists()
    assert len(load_images("cifar10", folder=tmp_path)) == 10


def test_archives_cannot_write_outside(offered: Callable[..., Archive], tmp_path: Path) -> None:
    archive = offered("cifar10", {**cifar_files(), "../../outside": b"x"})
    with pytest.raises(tarfile.OutsideDestinationError):
        unpacked(archive, tmp_path / "a" / "b")
    assert not list(tmp_path.rglob("outside"))
    assert left_in(tmp_path / "a" / "b") == {"cifar-10-binary.tar.gz"}


@pytest.mark.parametrize(
    ("name", "file", "content", "error", "message"),
    [
        (
            "cifar10",
            "data_batch_3.bin",
            None,
            FileNotFoundError,
            r"data_batch_3.bin is missing: remove .*bin to",
        ),
        ("cifar10", "data_batch_3.bin", b"abc", OSError, "it has 3 bytes instead of 6146: remove .*bin to"),
        ("cifar10", "data_batch_3.bin", b"", OSError, "data_batch_3.bin is damaged, it has 0 bytes"),
        ("cifar10", "data_batch_4.bin", cifar_record(1), OSError, "data_batch_4.bin is .* 3073 bytes"),
        (
            "cifar10",
            "data_batch_3.bin",
            cifar_record(1) + b"\x0a" + bytes(3072),
            OSError,
            "data_batch_3.bin is damaged: it holds a label out of range",
        ),
        (
            "stl10",
            "train_y.bin",
            bytes([1, 0]),
            OSError,
            "train_y.bin is damaged: it holds a label out of range",
        ),
        ("stl10", "train_y.bin", bytes([1]), OSError, "train_y.bin is damaged, it has 1 bytes instead of 2"),
        (
            "stl10",
            "train_X.bin",
            stl_record(4),
            OSError,
            "train_X.bin is damaged, it has 27648 bytes instead of 55296",
        ),
    ],
)
def test_a_damaged_file_is_named(
    name: str,
    file: str,
    content: bytes | None,
    error: type[Exception],
    message: str,
    offered: Callable[..., Archive],
    tmp_path: Path,
) -> None:
    archive = offered(name, cifar_files() if name == "cifar10" else stl_files())
    path = unpacked(archive, tmp_path) / file
    path.unlink() if content is None else path.write_bytes(content)
    with pytest.raises(error, match=message):
        load_images(name, folder=tmp_path)


def test_a_folder_may_be_named_from_the_home_folder(
    offered: Callable[..., Archive], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    offered("cifar10", cifar_files())
    assert len(load_images("cifar10", folder="~/data")) == 10
    assert left_in(tmp_path) == {"data"}
    assert "cifar-10-binary.tar.gz" in left_in(tmp_path / "data")


def test_what_is_known_of_the_archives() -> None:
    for archive in ARCHIVES.values():
        assert len(bytes.fromhex(archive.sha256)) == 32
        assert all(
            size % {"y": 1, "X": 27648}.get(name[-5], 3073) == 0 for name, size in archive.sizes.items()
        )
    assert set(ARCHIVES["cifar10"].sizes) == {Path(name).name for name in cifar_files()}
    assert set(ARCHIVES["stl10"].sizes) == {Path(name).name for name in stl_files()}
