"""Archives of images: fetched once, checked, unpacked as a whole or not at all, read in their own formats.

Sources: CIFAR-10, Krizhevsky 2009, https://www.cs.toronto.edu/~kriz/cifar.html; STL-10, Coates, Ng and Lee,
AISTATS 2011, https://cs.stanford.edu/~acoates/stl10/. Both pages describe the formats. The SHA-256 of the
archives are those that TensorFlow Datasets has on record.
"""

from __future__ import annotations

import tarfile
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from filelock import FileLock
from jaxtyping import Int, UInt8
from torch import Tensor

__all__ = ["ARCHIVES", "Archive", "read_cifar10", "read_stl10", "unpacked"]

Reader = Callable[[Path, str], tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class Archive:
    """Where a data set comes from and how it is read.

    Attributes:
        name: Name of the data set.
        url: Address of the archive, whose last part is its name in the cache folder.
        sha256: Checksum of the archive, in hexadecimal.
        inside: The folder that the archive unpacks to.
        sizes: Bytes of the files in it that are read.
        read: Reads the images and labels of a split from that folder.
    """

    name: str
    url: str
    sha256: str
    inside: str
    sizes: Mapping[str, int]
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
        FileNotFoundError: If the archive is not there and cannot be fetched, or a file of an unpacked one is
            missing; says what to do.
        OSError: If the archive is damaged or another file, a file of it is not of its size, or nothing can be
            written.
    """
    import pooch  # type: ignore[import-untyped]  # only archives need it

    folder = Path(pooch.os_cache("ssl-theory")) if folder is None else Path(folder).expanduser()
    target, packed = folder / archive.inside, folder / Path(archive.url).name
    if target.is_dir():
        _check_sizes(target, archive)
        return target
    if not download and not packed.exists():
        raise FileNotFoundError(f"{archive.name} is not in {folder}: {_advice(archive)}")
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / f".{archive.inside}.lock"):
        if not packed.exists():
            _fetch(archive, packed)
        elif pooch.file_hash(str(packed)) != archive.sha256:
            raise OSError(
                f"{packed} is damaged or another file (its SHA-256 is not {archive.sha256}): replace it"
            )
        if not target.is_dir():
            with tempfile.TemporaryDirectory(dir=folder) as temporary:
                with tarfile.open(packed) as tar:
                    tar.extractall(temporary, filter="data")
                (Path(temporary) / archive.inside).rename(target)
    _check_sizes(target, archive)
    return target


def _check_sizes(folder: Path, archive: Archive) -> None:
    again = f"remove {folder} to unpack the archive again"
    for name, size in archive.sizes.items():
        path = folder / name
        if not path.is_file():
            raise FileNotFoundError(f"{path} is missing: {again}")
        if path.stat().st_size != size:
            raise OSError(f"{path} is damaged, it has {path.stat().st_size} bytes instead of {size}: {again}")


def _fetch(archive: Archive, packed: Path) -> None:
    import pooch
    from requests import RequestException

    try:
        pooch.retrieve(
            archive.url,
            f"sha256:{archive.sha256}",
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
            f"{archive.url} sent another file than {archive.name} (SHA-256 {archive.sha256}): try again"
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
        OSError: If a file holds a label out of range.
    """
    names = ["test_batch.bin"] if split == "test" else [f"data_batch_{i}.bin" for i in range(1, 6)]
    images, labels = [], []
    for path in (folder / name for name in names):
        records = _records(path, 1 + 3 * 32 * 32)
        images.append(torch.from_numpy(records[:, 1:]).reshape(-1, 3, 32, 32))
        labels.append(_labels(records[:, 0], path))
    return torch.cat(images), torch.cat(labels)


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
        OSError: If a file holds a label out of range.
    """
    name = "unlabeled" if split == "unlabelled" else split
    records = _records(folder / f"{name}_X.bin", 3 * 96 * 96)
    images = torch.from_numpy(records).reshape(-1, 3, 96, 96).mT
    if split == "unlabelled":
        return images, torch.full((len(images),), -1)
    path = folder / f"{name}_y.bin"
    return images, _labels(_records(path, 1)[:, 0] - 1, path)  # 0 − 1 is 255


def _records(path: Path, size: int) -> np.ndarray[tuple[int, int], np.dtype[np.uint8]]:
    return np.fromfile(path, np.uint8).reshape(-1, size)


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
            "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
            "cifar-10-batches-bin",
            dict.fromkeys(("test_batch.bin", *(f"data_batch_{i}.bin" for i in range(1, 6))), 10_000 * 3073),
            read_cifar10,
        ),
        Archive(
            "stl10",
            "https://ai.stanford.edu/~acoates/stl10/stl10_binary.tar.gz",
            "f31fd99273a1acb8609c8db427cebb1de3f71de77758cdc0e22956e1289b9866",
            "stl10_binary",
            {
                "train_X.bin": 5_000 * 3 * 96 * 96,
                "train_y.bin": 5_000,
                "test_X.bin": 8_000 * 3 * 96 * 96,
                "test_y.bin": 8_000,
                "unlabeled_X.bin": 100_000 * 3 * 96 * 96,
            },
            read_stl10,
        ),
    )
}
