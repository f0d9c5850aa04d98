"""Corpora: which text belongs to which split, what is missing, and that nothing is needed but files."""

from __future__ import annotations

import hashlib
import re
from itertools import combinations
from pathlib import Path

import pytest

from benchbench.workloads.text.corpora import Corpus, PydocTopics, TextFiles, WikiText2, digest, without_repetitions

PARTS = ("train", "validation", "test")


@pytest.fixture(scope="module")
def pydoc() -> Corpus:
    return PydocTopics().load(Path("unused"))


def paragraphs(text: str) -> set[str]:
    return {" ".join(part.split()) for part in re.split(r"\n[ \t]*\n", text)} - {""}


def test_no_paragraph_of_pydoc_is_in_two_splits(pydoc: Corpus) -> None:
    parts = [paragraphs(getattr(pydoc, part)) for part in PARTS]
    assert all(len(part) > 100 for part in parts)
    assert all(not one & other for one, other in combinations(parts, 2))


def test_every_paragraph_of_pydoc_is_in_a_split(pydoc: Corpus) -> None:
    from pydoc_data.topics import topics

    expected = set().union(*map(paragraphs, topics.values()))
    assert set().union(*(paragraphs(getattr(pydoc, part)) for part in PARTS)) == expected


def test_a_tenth_and_a_topic_more_is_held_out(pydoc: Corpus) -> None:
    total = sum(len(getattr(pydoc, part)) for part in PARTS)
    assert 0.1 <= len(pydoc.validation) / total < 0.25
    assert 0.1 <= len(pydoc.test) / total < 0.25


def test_pydoc_is_the_same_each_time(pydoc: Corpus) -> None:
    assert PydocTopics().load(Path("elsewhere")) == pydoc


def test_a_paragraph_is_kept_in_the_longest_document_only() -> None:
    documents = ["same   words\n\nshort", "a much longer document\n  \nsame words\n\nsame words\n\nend"]
    assert without_repetitions(documents) == ["a much longer document\n\nsame words\n\nend", "short"]


def test_the_digest_is_that_of_the_digests_of_the_parts() -> None:
    parts = [hashlib.sha256(text.encode()).digest() for text in ("a", "é", "")]
    assert Corpus("a", "é", "").digest == digest("a", "é", "") == hashlib.sha256(b"".join(parts)).hexdigest()
    assert digest("ab", "c") != digest("a", "bc")


def test_without_validation_split_what_was_cut_goes_back_but_a_published_one_does_not() -> None:
    own, published = Corpus("a", "b", "c"), Corpus("a", "b", "c", published=True)
    assert own.splits("holdout") == published.splits("holdout") == {"train": "a", "validation": "b", "test": "c"}
    assert own.splits("paper") == {"train": "ab", "test": "c"}
    assert published.splits("paper") == {"train": "a", "test": "c"}


def test_text_files_are_cut_at_line_ends(tmp_path: Path) -> None:
    lines = [f"line {number} of the text, ü\n" for number in range(200)]
    (tmp_path / "one.txt").write_text("".join(lines[:120]), encoding="utf-8")
    (tmp_path / "two.txt").write_text("".join(lines[120:]), encoding="utf-8")
    corpus = TextFiles(("one.txt", str(tmp_path / "two.txt"))).load(tmp_path)
    assert corpus.train + corpus.validation + corpus.test == "".join(lines)
    assert [len(getattr(corpus, part).splitlines()) for part in PARTS] == pytest.approx([160, 20, 20], abs=2)
    assert all(getattr(corpus, part).endswith("\n") for part in PARTS)


def test_a_missing_text_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "here.txt").touch()
    source = TextFiles(("here.txt", "there.txt"))
    line = source.missing(tmp_path)
    assert line is not None
    assert str(tmp_path / "there.txt") in line
    assert "here.txt," not in line
    with pytest.raises(FileNotFoundError, match=r"there\.txt"):
        source.prepare(tmp_path)


def write_wikitext(folder: Path, lines: dict[str, list[str]]) -> None:
    datasets = pytest.importorskip("datasets", reason="needs the extra `language`")
    parts = {name: datasets.Dataset.from_dict({"text": text}) for name, text in lines.items()}
    datasets.DatasetDict(parts).save_to_disk(str(folder / "wikitext-2"))


def test_wikitext_is_read_from_the_format_of_datasets(tmp_path: Path) -> None:
    write_wikitext(tmp_path, {"train": ["", " = Title = \n", " words \n"], "validation": ["v"], "test": ["t\n"]})
    assert WikiText2().missing(tmp_path) is None
    assert WikiText2().load(tmp_path) == Corpus("\n = Title = \n words \n", "v\n", "t\n", published=True)
    with pytest.raises(ValueError, match="is not WikiText-2: it has the lines"):
        WikiText2().prepare(tmp_path)


def test_missing_wikitext_is_one_line_with_ways_to_bring_it(tmp_path: Path) -> None:
    pytest.importorskip("datasets", reason="needs the extra `language`")
    line = WikiText2().missing(tmp_path)
    assert line is not None
    for part in (str(tmp_path / "wikitext-2"), "save_to_disk", "benchbench prepare", "--data-dir", "--synthetic"):
        assert part in line
    assert "\n" not in line


def test_text_files_may_begin_with_a_byte_order_mark(tmp_path: Path) -> None:
    lines = "".join(f"line {number}\n" for number in range(40))
    (tmp_path / "plain.txt").write_text(2 * lines)
    for name in ("one.txt", "two.txt"):
        (tmp_path / name).write_bytes(("\ufeff" + lines.replace("\n", "\r\n")).encode())
    marked = TextFiles(("one.txt", "two.txt"))
    assert marked.missing(tmp_path) is None
    assert marked.load(tmp_path) == TextFiles(("plain.txt",)).load(tmp_path)


def test_text_in_another_encoding_is_said_beforehand(tmp_path: Path) -> None:
    (tmp_path / "old.txt").write_bytes("plain\ncafé\n".encode("latin-1"))
    (tmp_path / "wide.txt").write_bytes("plain\n".encode("utf-16"))
    assert TextFiles(("old.txt",)).missing(tmp_path) == (
        f"{tmp_path / 'old.txt'}:2: the byte 0xe9 is not UTF-8: save the file as UTF-8"
    )
    assert TextFiles(("wide.txt",)).missing(tmp_path) == f"{tmp_path / 'wide.txt'}: is UTF-16: save it as UTF-8"
