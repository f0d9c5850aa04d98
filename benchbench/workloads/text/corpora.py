"""Corpora of text; each knows its place on the disk and how to download itself."""

from __future__ import annotations

import hashlib
import importlib.util
import random
import re
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from benchbench import values
from benchbench.distribution import installing
from benchbench.workloads.text_files import read_text, unreadable

EXTRA = installing("language")
"""The command that installs optional packages."""

HELD_OUT = 0.1
"""Share of a corpus without published splits that becomes validation text, and test text as well."""

_SPLIT_SEED = 0
"""The splits are part of the corpus: the same for every run."""


@dataclass(frozen=True)
class Corpus:
    """The text of the splits.

    Attributes:
        train: Text to train on.
        validation: Text that may choose the best epoch.
        test: Text that is looked at in the end.
        published: Whether the validation text is a published split, and not cut from the training text.
    """

    train: str
    validation: str
    test: str
    published: bool = False

    def splits(self, protocol: values.Protocol) -> dict[str, str]:
        """Return the text by split. Without validation split, text that was cut from the training text is put back."""
        if protocol == "holdout":
            return {"train": self.train, "validation": self.validation, "test": self.test}
        return {"train": self.train if self.published else self.train + self.validation, "test": self.test}

    @property
    def digest(self) -> str:
        """SHA-256 of all its text."""
        return digest(self.train, self.validation, self.test)


def digest(*texts: str) -> str:
    """Return the SHA-256 of texts, in hexadecimal digits."""
    content = hashlib.sha256()
    for text in texts:
        content.update(hashlib.sha256(text.encode()).digest())
    return content.hexdigest()


class Source(Protocol):
    """A corpus that may have to be brought."""

    def missing(self, data: Path) -> str | None:
        """Return in one line what is missing below the data folder, and how to bring it, or `None`."""
        ...

    def prepare(self, data: Path) -> None:
        """Download what is missing, and verify it.

        Raises:
            FileNotFoundError: It is missing, and cannot be downloaded.
            ValueError: It is not what it should be.
        """
        ...

    def load(self, data: Path) -> Corpus:
        """Return the text."""
        ...


class PydocTopics:
    """The English that ships with Python: the language reference behind `help()`, without network.

    Topics repeat whole sections of each other, so a paragraph is kept only where it occurs first, longest topics
    first. Then the topics are shuffled (fixed seed) and cut, between topics, into test, validation and training text.
    The text depends on the version of Python; its digest says which text it is.
    """

    def missing(self, data: Path) -> str | None:
        """Return whether this Python was packaged without its topics."""
        if importlib.util.find_spec("pydoc_data"):
            return None
        return "corpus pydoc: this Python was packaged without its module pydoc_data; take another Python or corpus"

    def prepare(self, data: Path) -> None:
        """Check that the topics are there.

        Raises:
            FileNotFoundError: They are not.
        """
        _check_nothing_missing(self.missing(data))

    def load(self, data: Path) -> Corpus:
        """Return the text."""
        from pydoc_data.topics import topics

        documents = without_repetitions(topics.values())
        random.Random(_SPLIT_SEED).shuffle(documents)
        total = sum(map(len, documents))
        test, rest = _cut(documents, total)
        validation, train = _cut(rest, total)
        return Corpus(_joined(train), _joined(validation), _joined(test))


def without_repetitions(documents: Iterable[str]) -> list[str]:
    """Return documents, longest first, with every paragraph only where it occurs first, whatever its white space."""
    known: set[str] = set()
    kept = []
    for document in sorted(set(documents), key=lambda text: (-len(text), text)):
        fresh = []
        for paragraph in re.split(r"\n[ \t]*\n", document.strip("\n")):
            words = " ".join(paragraph.split())
            if words and words not in known:
                known.add(words)
                fresh.append(paragraph)
        if fresh:
            kept.append("\n\n".join(fresh))
    return kept


def _cut(documents: Sequence[str], total: int) -> tuple[Sequence[str], Sequence[str]]:
    """Return the first documents that together reach `HELD_OUT` of `total` characters, and the others."""
    length = 0
    for count, document in enumerate(documents, start=1):
        length += len(document)
        if length >= HELD_OUT * total:
            return documents[:count], documents[count:]
    return documents, []


def _joined(documents: Iterable[str]) -> str:
    return "".join(f"{document}\n\n\n" for document in documents)


@dataclass(frozen=True)
class TextFiles:
    """Text files in UTF-8, one after the other, cut at line ends into training, validation and test text.

    Attributes:
        paths: The files; a relative path starts from the data folder.
    """

    paths: tuple[str, ...]

    def missing(self, data: Path) -> str | None:
        """Return which file does not exist, or is no text in UTF-8."""
        absent = [str((data / path).absolute()) for path in self.paths if not (data / path).is_file()]
        if not absent:
            return next((line for path in self.paths if (line := unreadable(data / path))), None)
        return f"no text file {', '.join(absent)}; bring it there, or name another data folder with --data-dir"

    def prepare(self, data: Path) -> None:
        """Check that the files are there.

        Raises:
            FileNotFoundError: One is not.
        """
        _check_nothing_missing(self.missing(data))

    def load(self, data: Path) -> Corpus:
        """Return the text."""
        text = "".join(read_text(data / path) for path in self.paths)
        ends = [_line_end(text, 1 - 2 * HELD_OUT), _line_end(text, 1 - HELD_OUT)]
        return Corpus(text[: ends[0]], text[ends[0] : ends[1]], text[ends[1] :])


def _line_end(text: str, share: float) -> int:
    """Return where the line ends in which the first `share` of a text ends."""
    return text.find("\n", int(share * len(text))) + 1 or len(text)


class WikiText2:
    """WikiText-2, raw (Merity et al. 2016, arXiv 1609.07843), with its own splits, through Hugging Face `datasets`.

    It lies in the data folder in the format of `DatasetDict.save_to_disk`.
    """

    _FOLDER = "wikitext-2"
    _HUB = ("Salesforce/wikitext", "wikitext-2-raw-v1")
    _ROWS: Mapping[str, int] = {"train": 36718, "validation": 3760, "test": 4358}

    def missing(self, data: Path) -> str | None:
        """Return whether the package or the data are missing."""
        if not importlib.util.find_spec("datasets"):
            return f"corpus wikitext-2: datasets not installed: {EXTRA}"
        folder = data / self._FOLDER
        if (folder / "dataset_dict.json").is_file():
            return None
        name, part = self._HUB
        return (
            f"corpus wikitext-2 is not in {folder.absolute()}; bring there what "
            f"datasets.load_dataset({name!r}, {part!r}).save_to_disk(...) writes, download it with "
            "`benchbench prepare SUITE`, name another data folder with --data-dir, or rehearse with --synthetic"
        )

    def prepare(self, data: Path) -> None:
        """Download it, unless it is there, and verify the number of lines of each split.

        Raises:
            ImportError: The package `datasets` is not installed.
            ValueError: A split has another number of lines.
        """
        import datasets

        folder = data / self._FOLDER
        if not (folder / "dataset_dict.json").is_file():
            data.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=data) as temporary:
                downloaded = datasets.load_dataset(*self._HUB, cache_dir=f"{temporary}/cache")
                downloaded.save_to_disk(f"{temporary}/complete")
                (Path(temporary) / "complete").rename(folder)
        rows = {name: len(split) for name, split in datasets.load_from_disk(str(folder)).items()}
        if rows != dict(self._ROWS):
            raise ValueError(f"{folder} is not WikiText-2: it has the lines {rows}, not {dict(self._ROWS)}")

    def load(self, data: Path) -> Corpus:
        """Return the text."""
        import datasets

        splits = datasets.load_from_disk(str(data / self._FOLDER))
        text = {name: "".join(line.rstrip("\n") + "\n" for line in split["text"]) for name, split in splits.items()}
        return Corpus(text["train"], text["validation"], text["test"], published=True)


def _check_nothing_missing(line: str | None) -> None:
    if line:
        raise FileNotFoundError(line)
