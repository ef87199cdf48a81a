"""Text files: byte order marks, and replacement as a whole."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from daemon.base.text import file_name, local_path, markdown_code, markdown_text, name_text
from daemon.base.text_files import read_text, write_text


@pytest.mark.parametrize(
    "encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"]
)
def test_every_mark_is_understood(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "a.txt").write_bytes('name = "Grüße, 日本"\n'.encode(encoding))
    assert read_text(tmp_path / "a.txt") == 'name = "Grüße, 日本"\n'


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    write_text(file, "old")
    file.chmod(0o640)
    write_text(file, "caf\udce9")
    assert file.read_bytes() == rb"caf\udce9"
    assert file.stat().st_mode & 0o777 == 0o640
    (tmp_path / "link").symlink_to(file)
    write_text(tmp_path / "link", "new")
    assert (tmp_path / "link").is_symlink()
    assert file.read_text() == "new"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.json", "link"]


def test_a_full_disk_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_text(tmp_path / "a.json", "old")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_text(tmp_path / "a.json", "new")
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]
    assert (tmp_path / "a.json").read_text() == "old"


def test_names_of_files_are_text_in_every_locale() -> None:
    assert name_text(os.fsdecode(b"caf\xe9.wav")) == r"caf\xe9.wav"
    assert name_text(os.fsdecode("café".encode())) == "café"
    assert os.fsencode(local_path("café")) == "café".encode()
    assert os.fsencode(local_path("caf\udce9")) == b"caf\xe9"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("app_error", "app_error"),
        ("_x_ *y*", r"\_x\_ \*y\*"),
        ("a|b`c", r"a\|b\`c"),
        ("<b>&", "&lt;b&gt;&amp;"),
        ("[a](b) $x$", r"\[a\](b) \$x\$"),
        ("a\nb\x1b[1m", r"a\\nb\\x1b\[1m"),
    ],
)
def test_markdown_shows_a_name_as_it_is(text: str, shown: str) -> None:
    assert markdown_text(text) == shown


def test_a_code_span_holds_any_backtick() -> None:
    assert markdown_code("a b") == "`a b`"
    assert markdown_code("a`b``") == "``` a`b`` ```"


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("left", "left"),
        ("..", "%2E%2E"),
        ("a/b", "a%2Fb"),
        (".x", "%2Ex"),
        ("", "%00"),
        ("%", "%25"),
    ],
)
def test_a_name_becomes_one_file(text: str, name: str) -> None:
    assert file_name(text) == name
