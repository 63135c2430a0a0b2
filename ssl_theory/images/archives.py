"""Archives of images: fetched once, checked, unpacked as a whole or not at all, read in their own formats.

Sources: CIFAR-10, Krizhevsky 2009, https://www.cs.toronto.edu/~kriz/cifar.html; STL-10, Coates, Ng and Lee,
AISTATS 2011, https://cs.stanford.edu/~acoates/stl10/. Both pages describe the formats.
"""

from __future__ import annotations

import tarfile
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from filelock import FileLock
from jaxtyping import Int, UInt8
from torch import Tensor

Reader = Callable[[Path, str], tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class Archive:
    """Where a data set comes from and how it is read.

    Attributes:
        name: Name of the data set.
        url: Address of the archive, whose last part is its name in the cache folder.
        md5: Checksum of the archive, in hexadecimal.
        inside: The folder that the archive unpacks to.
        read: Reads the images and labels of a split from that folder.
    """

    name: str
    url: str
    md5: str
    inside: str
    read: Reader


def unpacked(archive: Archive, folder: str | Path | None = None, *, download: bool = True) -> Path:
    """Return the folder of an unpacked archive, fetching and unpacking it if need be.

    Nothing is ever left half done under its final name, and processes that ask at once wait for each other.

    Args:
        archive: What is asked for.
        folder: Where it is kept; None for the user's cache folder.
        download: Whether it may be fetched.

    Returns:
        The folder that the archive unpacks to, inside `folder`.

    Raises:
        FileNotFoundError: If the archive is not there and cannot be fetched; says what to put where.
        OSError: If the archive is damaged or another file, or nothing can be written.
    """
    import pooch  # type: ignore[import-untyped]  # only archives need it

    folder = Path(pooch.os_cache("ssl-theory")) if folder is None else Path(folder).expanduser()
    target, packed = folder / archive.inside, folder / Path(archive.url).name
    if target.is_dir():
        return target
    if not download and not packed.exists():
        raise FileNotFoundError(f"{archive.name} is not in {folder}: {_advice(archive)}")
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / f".{archive.inside}.lock"):
        if not packed.exists():
            _fetch(archive, packed)
        elif pooch.file_hash(str(packed), "md5") != archive.md5:
            raise OSError(f"{packed} is damaged or another file (its MD5 is not {archive.md5}): replace it")
        if not target.is_dir():
            with tempfile.TemporaryDirectory(dir=folder) as temporary:
                with tarfile.open(packed) as tar:
                    tar.extractall(temporary, filter="data")
                (Path(temporary) / archive.inside).rename(target)
    return target


def _fetch(archive: Archive, packed: Path) -> None:
    import pooch
    from requests import RequestException

    try:
        pooch.retrieve(
            archive.url,
            f"md5:{archive.md5}",
            packed.name,
            packed.parent,
            downloader=pooch.HTTPDownloader(progressbar=True, chunk_size=2**20),
        )
    except RequestException as error:
        reason = type(error).__name__
        raise FileNotFoundError(
            f"{archive.name} is not in {packed.parent} and cannot be fetched ({reason}): {_advice(archive)}"
        ) from None
    except ValueError:  # pooch's word for a checksum that differs
        raise OSError(
            f"{archive.url} sent another file than {archive.name} (its MD5 is not {archive.md5}): try again"
        ) from None


def _advice(archive: Archive) -> str:
    return f"put {Path(archive.url).name} from {archive.url} there"


def read_cifar10(folder: Path, split: str) -> tuple[UInt8[Tensor, "N 3 32 32"], Int[Tensor, " N"]]:
    """Return images and labels of CIFAR-10's binary version.

    A record is one byte of label and the red, green and blue planes, row by row.

    Args:
        folder: Where the files of batches lie.
        split: "train" or "test".

    Returns:
        Images, (N, 3, 32, 32), uint8; labels 0…9, (N,), int64.

    Raises:
        FileNotFoundError: If a file is missing.
        OSError: If a file is damaged.
    """
    names = ["test_batch.bin"] if split == "test" else [f"data_batch_{i}.bin" for i in range(1, 6)]
    records = np.concatenate([_records(folder / name, 1 + 3 * 32 * 32) for name in names])
    labels = _labels(records[:, 0], folder / names[0])
    return torch.from_numpy(records[:, 1:]).reshape(-1, 3, 32, 32), labels


def read_stl10(folder: Path, split: str) -> tuple[UInt8[Tensor, "N 3 96 96"], Int[Tensor, " N"]]:
    """Return images and labels of STL-10's binary version.

    A record is the red, green and blue planes, column by column; labels stand in a file of their own and
    count from 1.

    Args:
        folder: Where the files lie.
        split: "train", "test" or "unlabelled".

    Returns:
        Images, (N, 3, 96, 96), uint8; labels 0…9, or −1 for the unlabelled, (N,), int64.

    Raises:
        FileNotFoundError: If a file is missing.
        OSError: If a file is damaged.
    """
    name = "unlabeled" if split == "unlabelled" else split
    records = _records(folder / f"{name}_X.bin", 3 * 96 * 96)
    images = torch.from_numpy(records).reshape(-1, 3, 96, 96).mT
    if split == "unlabelled":
        return images, torch.full((len(images),), -1)
    path = folder / f"{name}_y.bin"
    labels = _labels(_records(path, 1)[:, 0] - 1, path)  # 0 − 1 is 255
    if len(labels) != len(images):
        raise OSError(f"{path} is damaged: {len(labels)} labels of {len(images)} images")
    return images, labels


def _records(path: Path, size: int) -> np.ndarray[tuple[int, int], np.dtype[np.uint8]]:
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing: remove {path.parent} to unpack the archive again")
    found = np.fromfile(path, np.uint8)
    if not len(found) or len(found) % size:
        raise OSError(f"{path} is damaged: {len(found)} bytes are not a number of records of {size}")
    return found.reshape(-1, size)


def _labels(values: np.ndarray[tuple[int], np.dtype[np.uint8]], path: Path) -> Tensor:
    if values.max() > 9:
        raise OSError(f"{path} is damaged: it holds a label out of range")
    return torch.from_numpy(values).long()


ARCHIVES = {
    archive.name: archive
    for archive in (
        Archive(
            "cifar10",
            "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
            "c32a1d4ab5d03f1284b67883e8d87530",
            "cifar-10-batches-bin",
            read_cifar10,
        ),
        Archive(
            "stl10",
            "https://ai.stanford.edu/~acoates/stl10/stl10_binary.tar.gz",
            "91f7769df0f17e558f3565bffb0c7dfb",
            "stl10_binary",
            read_stl10,
        ),
    )
}
