"""From text to tokens: bytes, byte-level byte-pair encoding (BPE) trained on the training text, and GPT-2's own."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from benchbench.files import naming
from benchbench.workloads.text.corpora import EXTRA, digest

if TYPE_CHECKING:
    import tokenizers

TokenizerName = Literal["bytes", "bpe", "gpt2"]
"""`bytes`: one token per byte of UTF-8; `bpe`: trained on the training text; `gpt2`: from GPT-2's files."""

BYTES = 256
GPT2_TOKENS = 50257

DEFAULT_BPE_TOKENS = 4096

_GPT2_FOLDER = "gpt2"
_GPT2_FILES = ("vocab.json", "merges.txt")
_GPT2_HUB = "openai-community/gpt2"


class Tokenizer(Protocol):
    """A reversible map between text and tokens.

    Attributes:
        vocabulary: Number of different tokens.
    """

    vocabulary: int

    def encode(self, text: str) -> NDArray[Any]:
        """Return the tokens of a text, as unsigned integers of shape (length,)."""
        ...

    def decode(self, tokens: NDArray[Any]) -> str:
        """Return the text of tokens."""
        ...


class ByteTokenizer:
    """The bytes of UTF-8: 256 tokens, no package, nothing to train."""

    vocabulary = BYTES

    def encode(self, text: str) -> NDArray[Any]:
        """Return the bytes of a text."""
        return np.frombuffer(text.encode(), np.uint8)

    def decode(self, tokens: NDArray[Any]) -> str:
        """Return the text of bytes; what is no UTF-8 becomes a replacement character."""
        return tokens.astype(np.uint8).tobytes().decode(errors="replace")


class BytePairTokenizer:
    """Byte-level BPE as GPT-2 has it (Radford et al. 2019, section 2.2), computed by the package `tokenizers`.

    Args:
        tokenizer: The tables of a trained encoding, with its splitting into words.
    """

    def __init__(self, tokenizer: tokenizers.Tokenizer) -> None:
        self._tokenizer = tokenizer
        self.vocabulary: int = tokenizer.get_vocab_size()

    def encode(self, text: str) -> NDArray[Any]:
        """Return the tokens of a text, which is encoded line by line."""
        encoded = self._tokenizer.encode_batch_fast(list(_lines(text)), add_special_tokens=False)
        return np.fromiter((token for line in encoded for token in line.ids), np.uint32)

    def decode(self, tokens: NDArray[Any]) -> str:
        """Return the text of tokens."""
        text: str = self._tokenizer.decode(tokens.tolist(), skip_special_tokens=False)
        return text


def missing(name: TokenizerName, data: Path) -> str | None:
    """Return in one line what a tokenizer lacks, and how to bring it, or `None`."""
    if name == "bytes":
        return None
    if not importlib.util.find_spec("tokenizers"):
        return f"tokenizer {name}: tokenizers not installed: {EXTRA}"
    folder = data / _GPT2_FOLDER
    if name == "gpt2" and not all((folder / file).is_file() for file in _GPT2_FILES):
        return (
            f"tokenizer gpt2: {' and '.join(_GPT2_FILES)} are not in {folder.absolute()}; bring GPT-2's files there, "
            "download them with `benchbench prepare SUITE`, or name another data folder with --data-dir"
        )
    return None


def prepare(name: TokenizerName, data: Path) -> None:
    """Download GPT-2's files if they are needed and missing, and verify the number of tokens.

    Raises:
        ImportError: A package is not installed.
        ValueError: The files are not GPT-2's.
    """
    if name != "gpt2":
        return
    folder = data / _GPT2_FOLDER
    for file in _GPT2_FILES:
        if not (folder / file).is_file():
            from huggingface_hub import hf_hub_download

            hf_hub_download(_GPT2_HUB, file, local_dir=folder)
    found = load("gpt2", data, "").vocabulary
    if found != GPT2_TOKENS:
        raise ValueError(f"the tokenizer in {folder} has {found} tokens, GPT-2's has {GPT2_TOKENS}")


def load(name: TokenizerName, data: Path, training_text: str, vocabulary: int | None = None) -> Tokenizer:
    """Return a tokenizer.

    A trained one is kept in the data folder, under a name made of the text's digest and its size.

    Args:
        name: Which one.
        data: The data folder.
        training_text: Text that `bpe` is trained on.
        vocabulary: Number of tokens of `bpe`, `DEFAULT_BPE_TOKENS` by default; the others have their own.

    Raises:
        ValueError: The training text is too short for so many tokens.
    """
    if name == "bytes":
        return ByteTokenizer()
    import tokenizers

    if name == "gpt2":
        files = [str(data / _GPT2_FOLDER / file) for file in _GPT2_FILES]
        return BytePairTokenizer(_byte_level(tokenizers.models.BPE.from_file(*files)))
    size = vocabulary or DEFAULT_BPE_TOKENS
    path = data / "tokenizers" / f"bpe-{size}-{digest(training_text)[:16]}.json"
    if not path.is_file():
        _save(_trained(training_text, size), path)
    return BytePairTokenizer(tokenizers.Tokenizer.from_file(str(path)))


def _trained(text: str, size: int) -> tokenizers.Tokenizer:
    import tokenizers

    tokenizer = _byte_level(tokenizers.models.BPE())
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=size, initial_alphabet=sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet()), show_progress=False
    )
    tokenizer.train_from_iterator(_lines(text), trainer)
    if tokenizer.get_vocab_size() != size:
        raise ValueError(f"the training text gives {tokenizer.get_vocab_size()} tokens, not the {size} asked for")
    return tokenizer


def _byte_level(model: tokenizers.models.Model) -> tokenizers.Tokenizer:
    import tokenizers

    tokenizer = tokenizers.Tokenizer(model)
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = tokenizers.decoders.ByteLevel()
    return tokenizer


def _save(tokenizer: tokenizers.Tokenizer, path: Path) -> None:
    """Write in one piece: runs that start together may train the same tokenizer."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with naming(path):
            temporary.write_text(tokenizer.to_str(), encoding="utf-8")
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _lines(text: str) -> Iterator[str]:
    """Yield the lines with their ends: short pieces are encoded in parallel, and in linear time."""
    return iter(text.splitlines(keepends=True))
