from __future__ import annotations

import os
from pathlib import Path

import pytest

from ssl_theory.publishing.files import require_writable, write_whole


def test_files_are_written_with_their_folders_and_the_usual_rights(tmp_path: Path) -> None:
    write_whole(tmp_path / "a" / "b.txt", "ü")
    assert (tmp_path / "a" / "b.txt").read_bytes() == "ü".encode()
    plain = tmp_path / "plain"
    plain.touch()
    assert (tmp_path / "a" / "b.txt").stat().st_mode == plain.stat().st_mode


def test_a_link_keeps_leading_where_it_leads(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("target")
    write_whole(tmp_path / "link", b"1")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "target").read_bytes() == b"1"


def test_what_cannot_be_written_leaves_what_was_there(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource", reason="limits on file sizes are POSIX's")
    path, (soft, hard) = tmp_path / "file", resource.getrlimit(resource.RLIMIT_FSIZE)
    write_whole(path, "before")
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(OSError, match="File too large"):
            write_whole(path, "x" * 5000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert path.read_text(encoding="utf-8") == "before"
    assert list(tmp_path.iterdir()) == [path]


def test_what_is_no_regular_file_is_not_replaced(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("pipe")
    for name in ("pipe", "link", "."):
        with pytest.raises(OSError, match="not a regular file"):
            require_writable(tmp_path / name)


def test_looking_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "there").write_text("1", encoding="utf-8")
    for name in ("there", "new"):
        require_writable(tmp_path / name)
    assert [path.name for path in tmp_path.iterdir()] == ["there"]


def test_a_write_protected_file_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "there").touch()
    monkeypatch.setattr(os, "access", lambda *_: False)  # root may write everywhere
    with pytest.raises(PermissionError, match="write-protected"):
        require_writable(tmp_path / "there")
