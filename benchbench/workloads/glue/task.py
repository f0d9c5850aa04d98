"""The workload `glue`: a pretrained encoder, finetuned on sentences of varying length."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from sklearn.model_selection import train_test_split
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pad_sequence

from benchbench.values import Metrics
from benchbench.workloads import Setup, Workload, evaluation_mode, fixed_order
from benchbench.workloads.glue import data as glue_data
from benchbench.workloads.glue import pretrained
from benchbench.workloads.glue.tasks import METRICS, TASKS, GlueTask
from benchbench.workloads.transfer import prefetched

Name = Literal["sst2", "mrpc", "stsb", "qqp", "mnli", "qnli", "rte"]

Batch = dict[str, Tensor]
"""Inputs of the model, padded to the longest text of the batch, and `labels`."""

MODEL = "squeezebert/squeezebert-uncased"
LONGEST = 512
_SPLIT_SEED = 0
_EVALUATION_BATCH = 64


@dataclass(frozen=True)
class Encoded:
    """Texts as tokens, and their labels.

    Attributes:
        fields: What the model takes (`input_ids` and so on), one tensor per example.
        labels: A class or a score per example, of shape (n,).
    """

    fields: Mapping[str, list[Tensor]]
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def at(self, indices: list[int]) -> Encoded:
        """Return a part."""
        return Encoded({name: [rows[i] for i in indices] for name, rows in self.fields.items()}, self.labels[indices])

    def batches(self, parts: Iterable[list[int]], padding: Mapping[str, int], device: torch.device) -> Iterator[Batch]:
        """Yield examples as batches on a device, padded on the right.

        Args:
            parts: Which examples, for each batch.
            padding: Value that fills up each field, 0 unless it is named.
            device: Where the batches are wanted.
        """
        return prefetched((self._batch(part, padding) for part in parts), device)

    def _batch(self, indices: list[int], padding: Mapping[str, int]) -> Batch:
        padded = {
            name: pad_sequence([rows[i] for i in indices], batch_first=True, padding_value=padding.get(name, 0))
            for name, rows in self.fields.items()
        }
        return {**padded, "labels": self.labels[indices]}


class Finetuning:
    """A task (`benchbench.workloads.Task`) that finetunes an encoder on one task of GLUE.

    Args:
        setup: Device, batch size and random streams.
        task: The task of GLUE.
        model: Maps a batch to logits of shape (n, outputs).
        train: Training examples.
        held_out: Examples by split, and by the suffix of the names of their metrics.
        padding: Value that fills up each field of a batch.
    """

    higher_is_better = True

    def __init__(
        self,
        setup: Setup,
        task: GlueTask,
        model: nn.Module,
        train: Encoded,
        held_out: Mapping[str, Mapping[str, Encoded]],
        padding: Mapping[str, int],
    ) -> None:
        self.model = model.to(setup.device)
        self.selection_metric = task.metrics[0]
        self.examples_per_epoch = len(train)
        self.steps_per_epoch = setup.steps(len(train))
        self._setup, self._task = setup, task
        self._train, self._held_out, self._padding = train, held_out, padding

    def batches(self, epoch: int) -> Iterator[Batch]:
        """Yield the shuffled batches of an epoch, the last one as small as it is unless `drop_last` is set."""
        order = torch.randperm(len(self._train), generator=self._setup.streams.generator("order", epoch))
        return self._batches(self._setup.kept(order))

    def fixed_batches(self, examples: int | None) -> Iterator[Batch]:
        """Yield training examples in the same order for every run (`Task`)."""
        return self._batches(fixed_order(len(self._train))[:examples])

    def _batches(self, order: Tensor) -> Iterator[Batch]:
        parts = (chosen.tolist() for chosen in torch.split(order, self._setup.batch_size))
        return self._train.batches(parts, self._padding, self._setup.device)

    def loss(self, batch: Batch) -> Tensor:
        """Return the mean cross-entropy of a batch, or the mean squared error of scores."""
        return self._criterion(self._logits(batch), batch["labels"])

    @torch.no_grad()
    def evaluate(self, split: str) -> Metrics:
        """Return `loss` and the task's metrics; those of a further part of the split have a suffix in their names."""
        found: Metrics = {}
        for suffix, examples in self._held_out[split].items():
            with evaluation_mode(self.model):
                logits, labels = self._outputs(examples)
            predicted = (logits.argmax(1) if self._task.labels else logits[:, 0]).double().cpu().numpy()
            true = labels.double().cpu().numpy()
            found |= {f"{name}{suffix}": METRICS[name](predicted, true) for name in self._task.metrics}
            found[f"loss{suffix}"] = self._criterion(logits, labels).item()
        return found

    def _outputs(self, examples: Encoded) -> tuple[Tensor, Tensor]:
        # Texts of similar length together, for little padding.
        by_length = sorted(range(len(examples)), key=lambda i: len(examples.fields["input_ids"][i]))
        parts = [by_length[i : i + _EVALUATION_BATCH] for i in range(0, len(by_length), _EVALUATION_BATCH)]
        batches = examples.batches(parts, self._padding, self._setup.device)
        outputs = [(self._logits(batch), batch["labels"]) for batch in batches]
        logits, labels = zip(*outputs, strict=True)
        return torch.cat(logits), torch.cat(labels)

    def _logits(self, batch: Batch) -> Tensor:
        fields = {name: value for name, value in batch.items() if name != "labels"}
        logits: Tensor = self.model(**fields).logits
        return logits

    def _criterion(self, logits: Tensor, labels: Tensor) -> Tensor:
        if self._task.labels:
            return F.cross_entropy(logits, labels.long())
        return F.mse_loss(logits[:, 0], labels)


def build(
    setup: Setup,
    *,
    task: Name,
    model: str = MODEL,
    max_length: int = LONGEST,
    validation: float = 0.1,
    examples: int | None = None,
) -> Finetuning:
    """Finetuning of a pretrained encoder on one task of GLUE.

    `test` is GLUE's own validation set, for the labels of its test set are not public; with the protocol `holdout`, a
    part of the training set (stratified by class, the same for every run) becomes `validation`. Metrics are accuracy,
    for MRPC and QQP also F1, for STS-B the correlations of Spearman and Pearson; MNLI has `accuracy` (matched) and
    `accuracy_mismatched`.

    Args:
        setup: Device, batch size and random streams.
        task: The task of GLUE.
        model: Any sequence-classification model of the transformers library: a folder, or a name, whose files lie in
            `models/<name>` of the data folder.
        max_length: Tokens after which a text, or a pair of texts, is cut off.
        validation: Share of the training set that is held out.
        examples: Only so many training examples, the first ones, for rehearsals.
    """
    chosen = TASKS[task]
    folder = pretrained.folder_of(setup.data, model)
    if setup.synthetic:
        network = pretrained.random_model(folder, chosen.outputs)
        files = _made_up(chosen, network.config, examples or _MADE_UP, max_length)
        padding: dict[str, int] = {}
    else:
        tokenizer = pretrained.load_tokenizer(folder)
        network = pretrained.load_model(folder, chosen.outputs)
        contents = glue_data.load(setup.data, task)
        files = {name: _encoded(sentences, tokenizer, max_length) for name, sentences in contents.items()}
        padding = {"input_ids": tokenizer.pad_token_id, "token_type_ids": tokenizer.pad_token_type_id}
    train = files["train"].at(list(range(len(files["train"])))[:examples])
    held_out: dict[str, Mapping[str, Encoded]] = {
        "test": {suffix: files[file] for suffix, file in chosen.tests.items()}
    }
    if setup.protocol == "holdout":
        train, part = _split(train, validation, stratified=bool(chosen.labels))
        held_out["validation"] = {"": part}
    return Finetuning(setup, chosen, network, train, held_out, padding)


def _encoded(sentences: glue_data.Sentences, tokenizer: Any, max_length: int) -> Encoded:
    columns = [list(column) for column in zip(*sentences.texts, strict=True)]
    encoded = tokenizer(*columns, truncation=True, max_length=max_length)
    fields = {name: [torch.tensor(row) for row in rows] for name, rows in encoded.items()}
    return Encoded(fields, torch.tensor(sentences.labels))


def _split(train: Encoded, share: float, *, stratified: bool) -> tuple[Encoded, Encoded]:
    classes = train.labels.tolist() if stratified else None
    kept, held_out = train_test_split(
        np.arange(len(train)), test_size=share, stratify=classes, random_state=_SPLIT_SEED
    )
    return train.at(kept.tolist()), train.at(held_out.tolist())


_MADE_UP = 2048
"""Training examples of made-up data; a quarter of it is held out for each test file."""


def _made_up(task: GlueTask, config: Any, count: int, max_length: int) -> dict[str, Encoded]:
    """Return made-up examples: random words, among them one that gives the label away."""
    generator = torch.Generator().manual_seed(_SPLIT_SEED)
    files = {}
    for file, size in {"train": count, **dict.fromkeys(task.tests.values(), max(8, count // 4))}.items():
        labels = torch.randint(0, max(task.outputs, 6 if not task.labels else 0), (size,), generator=generator)
        longest = min(48, max_length, config.max_position_embeddings)
        lengths = torch.randint(min(8, longest), longest + 1, (size,), generator=generator)
        words = [torch.randint(16, config.vocab_size, (int(length),), generator=generator) for length in lengths]
        for text, label in zip(words, labels.tolist(), strict=True):
            text[1] = 1 + label
        files[file] = Encoded(
            {"input_ids": words, "attention_mask": [torch.ones_like(text) for text in words]}, labels.float()
        )
    return files


def missing(data: Path, *, task: Name, model: str = MODEL, **_others: Any) -> str | None:
    """Return what is missing in one line, or `None`."""
    return pretrained.missing_packages() or glue_data.missing(data, task) or pretrained.missing(data, model)


def prepare(data: Path, *, task: Name, model: str = MODEL, **_others: Any) -> None:
    """Download the task and the model.

    Raises:
        ModuleNotFoundError: A package is missing.
    """
    if absent := pretrained.missing_packages():
        raise ModuleNotFoundError(absent)
    glue_data.prepare(data, task)
    pretrained.prepare(data, model)


glue = Workload(build, missing, prepare, synthetic=True)
