"""Tokens: tokenizers there and back, blocks that cover a text, and files of 16-bit numbers."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from benchbench.workloads.text import tokenization
from benchbench.workloads.text.tokens import (
    MappedTokens,
    ResidentTokens,
    block_count,
    map_shard,
    markov_chain,
    random_crops,
    shuffled_blocks,
)

CPU = torch.device("cpu")
ENGLISH = "the cat sat on the mat;\nthe dog lay on the log.\n\n" * 40 + "\tünïcode — 漢字 😀\n"


@given(st.text())
def test_bytes_are_a_text_and_a_text_is_bytes(text: str) -> None:
    tokens = tokenization.ByteTokenizer().encode(text)
    assert tokens.tolist() == list(text.encode())
    assert tokenization.ByteTokenizer().decode(tokens) == text


def test_byte_pairs_give_the_text_back_in_fewer_tokens(tmp_path: Path) -> None:
    pytest.importorskip("tokenizers", reason="needs the extra `language`")
    tokenizer = tokenization.load("bpe", tmp_path, ENGLISH, 290)
    assert tokenizer.vocabulary == 290
    unseen = " quite other\r\nwords, ß and 🎉"
    for text in (ENGLISH, unseen):
        tokens = tokenizer.encode(text)
        assert tokenizer.decode(tokens) == text
        assert tokens.max() < 290
    assert len(tokenizer.encode(ENGLISH)) < len(ENGLISH.encode()) / 2


def test_byte_pairs_are_trained_once_per_training_text(tmp_path: Path) -> None:
    pytest.importorskip("tokenizers", reason="needs the extra `language`")
    first = tokenization.load("bpe", tmp_path, ENGLISH, 280).encode(ENGLISH)
    (path,) = (tmp_path / "tokenizers").iterdir()
    written = path.stat().st_mtime_ns
    assert np.array_equal(tokenization.load("bpe", tmp_path, ENGLISH, 280).encode(ENGLISH), first)
    assert path.stat().st_mtime_ns == written
    tokenization.load("bpe", tmp_path, ENGLISH + "more", 280)
    tokenization.load("bpe", tmp_path, ENGLISH, 290)
    assert len(list((tmp_path / "tokenizers").iterdir())) == 3


def test_too_short_a_text_for_a_vocabulary_is_said(tmp_path: Path) -> None:
    pytest.importorskip("tokenizers", reason="needs the extra `language`")
    with pytest.raises(ValueError, match=r"the training text gives .* tokens, not the 4000 asked for"):
        tokenization.load("bpe", tmp_path, ENGLISH, 4000)
    assert not (tmp_path / "tokenizers").exists()


def test_missing_files_of_gpt2_are_one_line(tmp_path: Path) -> None:
    pytest.importorskip("tokenizers", reason="needs the extra `language`")
    line = tokenization.missing("gpt2", tmp_path)
    assert line is not None
    assert f"vocab.json and merges.txt are not in {tmp_path / 'gpt2'}" in line
    assert tokenization.missing("bpe", tmp_path) is tokenization.missing("bytes", tmp_path) is None


def order(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@given(st.integers(2, 200), st.integers(1, 20), st.integers(0, 5))
def test_shuffled_blocks_cover_the_text_without_overlap(tokens: int, block: int, seed: int) -> None:
    starts = shuffled_blocks(tokens, block, order(seed)).sort().values
    assert len(starts) == block_count(tokens, block)
    if not len(starts):
        assert tokens < 2 * block
        return
    assert (starts.diff() == block).all()
    assert 0 <= starts[0] < block
    end = int(starts[-1]) + block  # place of the last target
    assert end < tokens
    assert tokens - block * len(starts) < 2 * block


def test_epochs_differ_in_offset_and_order() -> None:
    drawn = [shuffled_blocks(1000, 10, order(seed)) for seed in range(6)]
    assert torch.equal(drawn[3], shuffled_blocks(1000, 10, order(3)))
    assert len({int(starts[0] % 10) for starts in drawn}) > 1
    assert not torch.equal(drawn[0], drawn[0].sort().values)


def test_random_crops_reach_both_ends_and_no_further() -> None:
    starts = random_crops(30, 10, 2000, order(0))
    assert (int(starts.min()), int(starts.max())) == (0, 19)  # the last target of a crop from 19 is token 29
    assert len(starts) == 2000


@pytest.fixture
def shard(tmp_path: Path) -> Path:
    path = tmp_path / "train.bin"
    np.random.default_rng(0).integers(50304, size=5000).astype(np.uint16).tofile(path)
    return path


def test_a_shard_has_the_tokens_of_the_file(shard: Path) -> None:
    content = np.fromfile(shard, np.uint16)
    mapped, resident = MappedTokens(map_shard(shard), CPU), ResidentTokens(content, CPU)
    starts = torch.tensor([0, 4990, 17])
    for size in (1, 2, 3, 4):
        batches = list(mapped.batches(starts, size, 10))
        assert [len(batch) for batch in batches] == [len(part) for part in torch.split(starts, size)]
        windows = torch.cat(batches)
        assert windows.dtype == torch.int64
        assert windows.tolist() == [content[start : start + 10].tolist() for start in starts.tolist()]
        assert torch.equal(windows, torch.cat(list(resident.batches(starts, size, 10))))
    assert len(mapped) == len(resident) == 5000


def test_tokens_are_counted_after_the_first(shard: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchbench.workloads.text.tokens._COUNTED_AT_ONCE", 700)
    content = np.fromfile(shard, np.uint16)
    expected = Counter(content[1:].tolist())
    for stream in (MappedTokens(map_shard(shard), CPU), ResidentTokens(content, CPU)):
        counts = stream.counts(50304)
        assert len(counts) == 50304
        assert {token: int(counts[token]) for token in counts.nonzero()[0]} == expected


def test_made_up_text_has_at_most_four_successors_per_token() -> None:
    texts = [markov_chain(50304, 64 * 500, stream) for stream in (0, 1)]
    assert not np.array_equal(*texts)
    walks = np.concatenate([text.reshape(64, 500) for text in texts])
    pairs = {(int(a), int(b)) for row in walks for a, b in pairwise(row)}
    assert max(Counter(first for first, _ in pairs).values()) <= 4
    assert walks.min() >= 0 and 256 < walks.max() < 50304
