"""GLUE in miniature: its files, a tokenizer and a SqueezeBERT with random weights, all made here."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import torch

WORDS = ["good", "bad", "film", "cat", "dog", "tree", "runs", "sleeps", "red", "blue", "one", "two", "house", "river"]

HEADERS = {
    "SST-2": "sentence\tlabel",
    "MRPC": "Quality\t#1 ID\t#2 ID\t#1 String\t#2 String",
    "STS-B": "index\tgenre\tfilename\tyear\told_index\tsource1\tsource2\tsentence1\tsentence2\tscore",
    "QQP": "id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate",
    "MNLI": "index\tpromptID\tpairID\tgenre\tsentence1_binary_parse\tsentence2_binary_parse\tsentence1_parse\t"
    "sentence2_parse\tsentence1\tsentence2\tlabel1\tgold_label",
    "QNLI": "index\tquestion\tsentence\tlabel",
    "RTE": "index\tsentence1\tsentence2\tlabel",
}
"""First lines of GLUE's own files."""

FILES = dict.fromkeys(HEADERS, ("train", "dev")) | {"MNLI": ("train", "dev_matched", "dev_mismatched")}


def write_glue(data: Path, train: int = 24, test: int = 10) -> None:
    """Write all tasks as TSV files into `data/glue`."""
    for name, header in HEADERS.items():
        folder = data / "glue" / name
        folder.mkdir(parents=True)
        for file in FILES[name]:
            draws = random.Random(f"{name} {file}")
            lines = [_line(name, index, draws) for index in range(train if file == "train" else test)]
            mark = "\ufeff" if name == "MRPC" else ""  # as GLUE's own files have it
            (folder / f"{file}.tsv").write_text(mark + "\n".join([header, *lines]) + "\n", encoding="utf-8")


def _line(name: str, index: int, draws: random.Random) -> str:
    first, second = (" ".join(draws.choices(WORDS, k=draws.randint(2, 7))) for _ in range(2))
    binary = str(index % 2)
    entailment = ("entailment", "not_entailment")[index % 2]
    three = ("entailment", "neutral", "contradiction")[index % 3]
    score = f"{draws.uniform(0, 5):.3f}"
    return {
        "SST-2": f'{first} "\t{binary}',  # a lone quotation mark is a word here
        "MRPC": f"{binary}\t1\t2\t{first}\t{second}",
        "STS-B": f"{index}\tg\tf\ty\to\ts1\ts2\t{first}\t{second}\t{score}",
        "QQP": f"{index}\t1\t2\t{first}\t{second}\t{binary}",
        "MNLI": f"{index}\tp\tq\tg\tb\tb\tp\tp\t{first}\t{second}\t{three}\t{three}",
        "QNLI": f"{index}\t{first}\t{second}\t{entailment}",
        "RTE": f"{index}\t{first}\t{second}\t{entailment}",
    }[name]


def write_model(folder: Path, **changes: Any) -> None:
    """Write a SqueezeBERT of two layers with random weights, and a tokenizer that knows `WORDS`."""
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Whitespace
    from tokenizers.processors import TemplateProcessing
    from transformers import PreTrainedTokenizerFast, SqueezeBertConfig, SqueezeBertForSequenceClassification

    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    words = Tokenizer(WordLevel({word: i for i, word in enumerate(special + WORDS)}, unk_token="[UNK]"))
    words.pre_tokenizer = Whitespace()
    words.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=words,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
        model_input_names=["input_ids", "token_type_ids", "attention_mask"],
    )
    tokenizer.save_pretrained(folder)
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    sizes |= {"embedding_size": 16, "max_position_embeddings": 40, "vocab_size": len(special + WORDS)}
    groups = {f"{part}_groups": 2 for part in ("q", "k", "v", "post_attention", "intermediate", "output")}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        SqueezeBertForSequenceClassification(SqueezeBertConfig(**{**sizes, **groups, **changes})).save_pretrained(
            folder
        )
