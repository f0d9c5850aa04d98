"""Language modelling: a GPT learns to predict the next token of a text."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, TypeGuard

from pydantic import JsonValue

from benchbench.problems import nearest_name
from benchbench.workloads import Setup, Workload
from benchbench.workloads.models.gpt import GPT, configuration
from benchbench.workloads.text import tokenization
from benchbench.workloads.text.corpora import PydocTopics, Source, TextFiles, WikiText2
from benchbench.workloads.text.task import LanguageModelling, Text
from benchbench.workloads.text.tokenization import TokenizerName
from benchbench.workloads.text.tokens import (
    MappedTokens,
    ResidentTokens,
    map_shard,
    markov_chain,
)

_SHARDS = ("train.bin", "val.bin")

SHARD_TOKENS = 50304
"""GPT-2's tokens, rounded up to a multiple of 64, as nanoGPT does and the SASSHA authors after it."""

_NAMED: Mapping[str, Source] = {"pydoc": PydocTopics(), "wikitext-2": WikiText2()}

_TOKENS_OF: Mapping[TokenizerName, int] = {
    "bytes": tokenization.BYTES,
    "bpe": tokenization.DEFAULT_BPE_TOKENS,
    "gpt2": tokenization.GPT2_TOKENS,
}

_SYNTHETIC_TOKENS = {"train": 1 << 16, "validation": 1 << 13, "test": 1 << 13}


Corpus = str | tuple[str, ...]


def build(
    setup: Setup,
    *,
    corpus: Corpus = "pydoc",
    tokenizer: TokenizerName | None = None,
    vocabulary: int | None = None,
    block: int = 64,
    blocks_per_epoch: int | None = None,
    model: str | dict[str, JsonValue] = "gpt-tiny",
    decay: Literal["all", "linear"] = "all",
) -> LanguageModelling:
    """Next-token prediction by a GPT, on text that comes with Python unless another corpus is named.

    An example of a batch is a block of tokens. Loss and perplexity are per token, so perplexities compare only where
    corpus and tokenizer are the same.

    Args:
        setup: Device, batch size and random streams.
        corpus: `pydoc`, `wikitext-2`, a text file or a list of them, or a folder (`openwebtext/`) with the token
            shards train.bin and val.bin; paths start from the data folder.
        tokenizer: `bytes` (default), `bpe` (trained on the training text) or `gpt2`; shards are tokens already.
        vocabulary: Tokens of `bpe` (4096 by default), or embeddings for shards (50304 by default).
        block: Tokens per example.
        blocks_per_epoch: Blocks of an epoch, drawn with replacement; by default, an epoch is a pass over the text.
        model: `gpt-tiny`, `gpt1-mini`, `gpt2-small`, or a mapping of one of them at `preset` and fields that differ.
        decay: `all` parameters, or the weights of `linear` layers only.

    Raises:
        ValueError: A parameter cannot be used.
    """
    architecture = configuration(model)
    if setup.synthetic:
        text = _made_up(setup, corpus, tokenizer, vocabulary)
    elif _are_shards(corpus):
        text = _mapped(setup, setup.data / corpus, vocabulary or SHARD_TOKENS)
    else:
        text = _encoded(setup, _source(corpus), tokenizer or "bytes", vocabulary)
    network = GPT(architecture, text.vocabulary, block)
    return LanguageModelling(setup, network, text, block=block, blocks_per_epoch=blocks_per_epoch, decay=decay)


def missing(
    data: Path,
    *,
    corpus: Corpus = "pydoc",
    tokenizer: TokenizerName | None = None,
    vocabulary: int | None = None,
    block: int = 64,
    blocks_per_epoch: int | None = None,
    model: str | dict[str, JsonValue] = "gpt-tiny",
    **_others: Any,
) -> str | None:
    """Return in one line which text or package is missing, or which parameter cannot be used, or `None`."""
    try:
        configuration(model)
        _check_sizes(corpus, tokenizer, vocabulary, block, blocks_per_epoch)
        if _are_shards(corpus):
            return _missing_shards(data / corpus)
        return _source(corpus).missing(data) or tokenization.missing(tokenizer or "bytes", data)
    except ValueError as error:
        return str(error)


def prepare(data: Path, *, corpus: Corpus = "pydoc", tokenizer: TokenizerName | None = None, **_others: Any) -> None:
    """Download the corpus and GPT-2's tokenizer where they are needed and missing, and verify them.

    Raises:
        FileNotFoundError: Something cannot be downloaded.
        ValueError: Something is not what it should be.
    """
    if not _are_shards(corpus):
        _source(corpus).prepare(data)
        tokenization.prepare(tokenizer or "bytes", data)
    elif line := _missing_shards(data / corpus):
        raise FileNotFoundError(line)


def _check_sizes(
    corpus: Corpus,
    tokenizer: TokenizerName | None,
    vocabulary: int | None,
    block: int,
    blocks_per_epoch: int | None,
) -> None:
    if block < 1 or (blocks_per_epoch is not None and blocks_per_epoch < 1):
        raise ValueError("block and blocks_per_epoch must be at least 1")
    if _are_shards(corpus) and tokenizer is not None:
        raise ValueError("shards are tokens already: leave out tokenizer")
    least = 1 if _are_shards(corpus) else tokenization.BYTES
    if vocabulary is not None and not (_are_shards(corpus) or tokenizer == "bpe"):
        raise ValueError("vocabulary can be chosen for the tokenizer bpe and for shards only")
    if vocabulary is not None and vocabulary < least:
        raise ValueError(f"vocabulary must be at least {least} (got {vocabulary})")


def _are_shards(corpus: Corpus) -> TypeGuard[str]:
    return isinstance(corpus, str) and corpus.endswith("/")


def _source(corpus: Corpus) -> Source:
    if not isinstance(corpus, str):
        return TextFiles(corpus)
    if corpus in _NAMED:
        return _NAMED[corpus]
    if Path(corpus).suffix or "/" in corpus:
        return TextFiles((corpus,))
    nearest = nearest_name(corpus, _NAMED)
    hint = f"; did you mean {nearest!r}?" if nearest else ""
    allowed = f"{', '.join(_NAMED)}, the path of a text file such as notes.txt, a folder of shards such as openwebtext/"
    raise ValueError(f"unknown corpus {corpus!r}; allowed: {allowed}{hint}")


def _encoded(setup: Setup, source: Source, name: TokenizerName, vocabulary: int | None) -> Text:
    corpus = source.load(setup.data)
    splits = corpus.splits(setup.protocol)
    tokenizer = tokenization.load(name, setup.data, splits["train"], vocabulary)
    tokens = {split: ResidentTokens(tokenizer.encode(text), setup.device) for split, text in splits.items()}
    return Text(tokens, tokenizer.vocabulary, f"sha256 {corpus.digest}")


def _mapped(setup: Setup, folder: Path, vocabulary: int) -> Text:
    """Map shards: val.bin is the test split, and as many tokens at the end of train.bin are the validation split."""
    train, test = (map_shard(folder / name) for name in _SHARDS)
    parts = {"train": train, "test": test}
    if setup.protocol == "holdout":
        parts |= {"train": train[: -len(test)], "validation": train[-len(test) :]}
    splits = {name: MappedTokens(part, setup.device) for name, part in parts.items()}
    return Text(splits, vocabulary, f"shards of {len(train)} and {len(test)} tokens")


def _missing_shards(folder: Path) -> str | None:
    absent = [name for name in _SHARDS if not (folder / name).is_file()]
    if not absent:
        return None
    return (
        f"no token shards {' and '.join(absent)} in {folder.absolute()}; write tokens there as unsigned 16-bit numbers "
        "(data/openwebtext/prepare.py of github.com/karpathy/nanoGPT does), or rehearse with --synthetic"
    )


def _made_up(setup: Setup, corpus: Corpus, tokenizer: TokenizerName | None, vocabulary: int | None) -> Text:
    own = SHARD_TOKENS if _are_shards(corpus) else _TOKENS_OF[tokenizer or "bytes"]
    size = vocabulary or own
    splits = {
        split: ResidentTokens(markov_chain(size, length, stream), setup.device)
        for stream, (split, length) in enumerate(_SYNTHETIC_TOKENS.items())
        if split != "validation" or setup.protocol == "holdout"
    }
    return Text(splits, size)


language_modelling = Workload(build, missing, prepare, synthetic=True)
