"""Manifests of spreadsheets and editors, and what is wrong with them."""

from __future__ import annotations

import codecs
import json
import os
import unicodedata
from pathlib import Path
from typing import Any

import pytest
from support.train_helpers import write_words

from daemon.base.errors import UserError
from train.data.clips import Loaded, load_clips
from train.recipe import Recipe

PLAIN = "path,label,speaker\r\n" + "".join(
    f"{label}/{label}-{number}.wav,{label},s{number}\r\n"
    for label in ("rise", "fall")
    for number in range(3)
)


@pytest.fixture
def words(tmp_path: Path) -> Path:
    return write_words(tmp_path, ("rise", "fall"), 3)


def load(folder: Path, name: str, content: bytes | str, **section: Any) -> Loaded:
    raw = content.encode() if isinstance(content, str) else content
    (folder / name).write_bytes(raw)
    tree = {"name": "t", "root": str(folder), "data": [{"path": name} | section]}
    return load_clips(Recipe.model_validate(tree))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("plain.csv", PLAIN.encode()),
        ("mark.csv", PLAIN.encode("utf-8-sig")),
        ("unicode.txt", PLAIN.replace(",", "\t").encode("utf-16")),
        ("unmarked.csv", PLAIN.encode("utf-16-be")),
        ("tabs.tsv", PLAIN.replace(",", "\t").encode()),
        ("german.CSV", PLAIN.replace(",", ";").encode()),
        ("excel.csv", b"sep=;\r\n" + PLAIN.replace(",", ";").encode()),
        ("excel_tabs.csv", b"sep=\t\r\n" + PLAIN.replace(",", "\t").encode()),
        ("blanks.csv", PLAIN.replace(",", " , ").encode()),
        ("quoted.csv", PLAIN.replace(",rise,", ', "rise" ,').encode()),
        ("names.csv", PLAIN.replace("path,label,speaker", "Filename,INTENT,Speaker_ID").encode()),
        ("old_mac.csv", PLAIN.replace("\r\n", "\r").encode()),
        ("empty_rows.csv", ("\r\n" + PLAIN + ",,\r\n\r\n").encode()),
        ("windows.csv", PLAIN.replace("/", "\\").encode()),
    ],
)
def test_tables_as_spreadsheets_save_them(words: Path, name: str, content: bytes) -> None:
    loaded = load(words, name, content)
    assert sorted({c.label for c in loaded.clips}) == ["fall", "rise"]
    assert len(loaded.clips) == 6
    assert {clip.key for clip in loaded.clips} == {"s0", "s1", "s2"}
    assert not loaded.problems


def test_windows_1252_is_read_with_a_remark(words: Path) -> None:
    loaded = load(words, "ansi.csv", PLAIN.replace(",rise,", ",grün,").encode("cp1252"))
    assert {clip.label for clip in loaded.clips} == {"grün", "fall"}
    assert "ansi.csv is not UTF-8 and was read as Windows-1252" in loaded.notes[0]


def test_files_are_found_by_bytes_and_by_either_form_of_an_accent(words: Path) -> None:
    (words / "rise" / "rise-0.wav").rename(words / "rise" / os.fsdecode(b"caf\xe9.wav"))
    decomposed = unicodedata.normalize("NFD", "größe.wav")
    (words / "rise" / "rise-1.wav").rename(words / "rise" / decomposed)
    text = PLAIN.replace("rise-0", "café").replace("rise-1", "größe")
    loaded = load(words, "ansi.csv", text.encode("cp1252"))
    assert len(loaded.clips) == 6


@pytest.mark.parametrize("name", ["m.jsonl", "m.ndjson", "m.json"])
def test_json_lines_with_a_mark_or_as_an_array(words: Path, name: str) -> None:
    rows = [{"path": f"{k}/{k}-{n}.wav", "label": k} for k in ("rise", "fall") for n in range(3)]
    text = json.dumps(rows) if name == "m.json" else "\r\n".join(map(json.dumps, rows))
    assert len(load(words, name, codecs.BOM_UTF8 + text.encode()).clips) == 6


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("a.csv", "a,b\nrise/rise-0.wav,rise\n", r"no column 'path' .*; its columns are a, b\. "),
        ("a.csv", "path,what\nrise/rise-0.wav,rise\n", r"no column 'label' .* are path, what\."),
        ("a.csv", "rise/rise-0.wav,rise\n", r"columns are rise/rise-0\.wav, rise\."),
        ("a.csv", "x" * 200_000 + ",label\n", r"field larger than field limit"),
        ("a.csv", "", r"its columns are none\."),
        ("a.csv", "file,audio,label\na,b,c\n", "several columns that could be its path: file, aud"),
        ("a.jsonl", '{"text": "x"}\n', r"no column 'path' .* are text\."),
        ("a.jsonl", "[" * 100_000, "is not JSON"),
        ("a.xlsx", "PK", "is a spreadsheet; save it as CSV"),
    ],
)
def test_what_a_manifest_lacks_is_one_sentence(
    words: Path, name: str, content: str, sentence: str
) -> None:
    with pytest.raises(UserError, match=sentence) as refused:
        load(words, name, content)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("mark", ['"', " "])
def test_a_delimiter_that_is_none_is_passed_over(words: Path, mark: str) -> None:
    assert len(load(words, "m.csv", f"sep={mark}\r\n{PLAIN}").clips) == 6


def test_a_row_without_a_name_has_one_in_unicode(words: Path) -> None:
    name = os.fsdecode(b"caf\xe9.jsonl")
    rows = [{"path": f"{k}/{k}-0.wav", "label": k} for k in ("rise", "fall")]
    loaded = load(words, name, "\n".join(map(json.dumps, [*rows, {"path": 1}])))
    assert [problem.path.encode() for problem in loaded.problems] == [b"caf\\xe9.jsonl, row 3"]


def test_odd_values_are_listed_and_the_rest_is_used(words: Path) -> None:
    good = {"path": "rise/rise-1.wav", "label": "rise"}
    rows: list[dict[str, Any]] = [
        good,
        {"path": "fall/fall-0.wav", "label": "fall", "start": "0,1"},
        {"path": "fall/fall-1.wav", "label": 3},
        good | {"label": ["rise", "fall"]},
        good | {"label": {"name": "rise"}},
        good | {"label": "a\0b"},
        good | {"speaker": ["anna"]},
        good | {"path": None},
        good | {"path": "rise\0.wav"},
        good | {"path": "\ud800.wav"},
        good | {"start": "soon"},
        good | {"start": 10**400},
    ]
    loaded = load(words, "m.jsonl", "\n".join(map(json.dumps, rows)))
    assert [clip.label for clip in loaded.clips] == ["rise", "fall", "3"]
    assert [problem.reason.split(" (")[0] for problem in loaded.problems] == [
        "has a list as label",
        "has a table as label",
        "has a control character in its label",
        "has a list as speaker",
        "names no recording",
        "names no recording",
        "cannot be opened: no such file or directory",
        "has a start or end that is no number of seconds",
        "has a start or end that is no number of seconds",
    ]
