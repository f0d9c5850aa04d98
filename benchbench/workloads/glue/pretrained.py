"""Sequence-classification models of the transformers library, from a folder."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

from torch import nn

from benchbench.distribution import installing

PACKAGES = ("transformers", "datasets", "tokenizers")


def folder_of(data: Path, name: str) -> Path:
    """Return where a model lies: the folder that `name` is, or its place in the data folder."""
    given = Path(name).expanduser()
    return given if given.is_dir() else data / "models" / name


def missing_packages() -> str | None:
    """Return which packages are missing and how to install them, or `None`."""
    absent = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
    if not absent:
        return None
    return f"{', '.join(absent)} not installed: {installing('language')}"


def missing(data: Path, name: str) -> str | None:
    """Return which files of a model are missing and how to bring them, or `None`."""
    folder = folder_of(data, name)
    if (folder / "config.json").is_file():
        return None
    return (
        f"the model {name} is not in {folder.absolute()}; bring it there (`save_pretrained` of model and tokenizer), "
        "download it with `benchbench prepare SUITE`, name another folder with --data-dir, or rehearse with --synthetic"
    )


def prepare(data: Path, name: str) -> None:
    """Download model and tokenizer from the hub, unless they are there, and write them into the data folder."""
    folder = folder_of(data, name)
    if missing(data, name) is None:
        return
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(name)
    model = AutoModelForSequenceClassification.from_pretrained(name)
    tokenizer.save_pretrained(folder)
    model.save_pretrained(folder)  # last: its config says that all is there


def load_model(folder: Path, outputs: int) -> nn.Module:
    """Return a model with its pretrained weights and a fresh head.

    Args:
        folder: Where it lies.
        outputs: Classes, or 1 for a score.
    """
    from transformers import AutoModelForSequenceClassification

    model: nn.Module = AutoModelForSequenceClassification.from_pretrained(
        str(folder), num_labels=outputs, local_files_only=True, ignore_mismatched_sizes=True
    )
    return model


def load_tokenizer(folder: Path) -> Any:
    """Return the tokenizer that lies with a model."""
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(str(folder), local_files_only=True)


def random_model(folder: Path, outputs: int) -> nn.Module:
    """Return a model with random weights: of the architecture in `folder`, or of SqueezeBERT if there is none.

    Args:
        folder: Where its configuration may lie.
        outputs: Classes, or 1 for a score.
    """
    from transformers import AutoConfig, AutoModelForSequenceClassification, SqueezeBertConfig

    if (folder / "config.json").is_file():
        config = AutoConfig.from_pretrained(str(folder), num_labels=outputs, local_files_only=True)
    else:
        config = SqueezeBertConfig(num_labels=outputs)
    model: nn.Module = AutoModelForSequenceClassification.from_config(config)
    return model
