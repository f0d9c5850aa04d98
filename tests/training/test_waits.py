"""No step of a run waits for its GPU: counted on a pretended one, from the batch to the sum of the losses."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from benchbench.plugins.factories import Factories
from benchbench.training.state import RunState
from benchbench.values import RunSpec
from benchbench.workloads import DATA
from benchbench.workloads.images import DatasetInfo
from benchbench.workloads.images.streaming import StreamedImages, StreamedSource
from benchmarks.pretend_cuda import CUDA, PretendCuda
from tests.helpers.specs import run_spec

OPTIMIZERS: dict[str, dict[str, Any]] = {
    "sgd": {"lr": 0.1, "momentum": 0.9, "weight_decay": 1e-3},
    "adamw": {"lr": 0.01},
    "sam": {"lr": 0.1, "momentum": 0.9, "adaptive": True},
    "sassha": {"lr": 0.05, "lazy_hessian": 2, "weight_decay": 1e-3},
    "msassha": {"lr": 0.05, "lazy_hessian": 2, "absolute": False},
    "adahessian": {"lr": 0.05, "n_samples": 2},
    "sophia_h": {"lr": 0.01, "lazy_hessian": 2},
}


def spec(
    optimizer: str = "sgd",
    parameters: dict[str, Any] | None = None,
    workload: dict[str, Any] | None = None,
    **fields: Any,
) -> RunSpec:
    parameters = OPTIMIZERS[optimizer] if parameters is None else parameters
    workload = workload or {"target": "digits-resnet8", "parameters": {"width": 2}}
    return run_spec(optimizer, parameters=parameters, **{"workload": workload, "batch_size": 64, **fields})


def waits(chosen: RunSpec, steps: int = 2, data: Path = DATA) -> list[Counter[str]]:
    """Return what each step of a run waits for, data path and sum of losses included.

    The first four are left out: first steps, and those like them, are waited for to be timed as warm-up.
    """
    found = []
    with PretendCuda() as cuda:
        state = RunState(chosen, Factories.of(chosen), CUDA, data, None, lambda record: None)
        batches = state.training.task.batches(1)
        for _ in range(4):
            state.step(next(batches))
        for _ in range(steps):
            with cuda.counted() as counts:
                state.step(next(batches))
            found.append(counts.waits)
    return found


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_no_optimizer_of_ours_waits(optimizer: str) -> None:
    assert not sum(waits(spec(optimizer, schedule={"lr": {"name": "cosine"}})), Counter())


def test_tokens_that_are_read_from_a_file_are_not_waited_for(tmp_path: Path) -> None:
    (tmp_path / "shards").mkdir()
    for name in ("train.bin", "val.bin"):
        np.random.default_rng(0).integers(99, size=3000).astype(np.uint16).tofile(tmp_path / "shards" / name)
    text = {"vocabulary": 99, "block": 8, "model": {"preset": "gpt-tiny", "layers": 1}}
    for corpus in ("shards/", "pydoc"):
        parameters = {**text, "corpus": corpus} if corpus == "shards/" else {"block": 8, "model": text["model"]}
        workload = {"target": "language-modelling", "parameters": parameters}
        found = waits(spec("adamw", workload=workload, batch_size=16, protocol="paper"), data=tmp_path)
        assert not sum(found, Counter())


@pytest.mark.slow
def test_of_sentences_only_the_model_itself_waits(tmp_path: Path) -> None:
    """The transformers library asks in every forward pass whether there is padding; batches come without a wait."""
    pytest.importorskip("transformers.models.squeezebert.modeling_squeezebert")  # not to be loaded under pretence
    (tmp_path / "models" / "small").mkdir(parents=True)
    sizes = {"hidden_size": 32, "embedding_size": 32, "intermediate_size": 32, "vocab_size": 128}
    config = {"model_type": "squeezebert", "num_hidden_layers": 1, "num_attention_heads": 4, **sizes}
    (tmp_path / "models" / "small" / "config.json").write_text(json.dumps(config))
    workload = {"target": "glue", "parameters": {"task": "rte", "model": "small", "examples": 80}}
    found = waits(spec("adamw", workload=workload, batch_size=8, synthetic=True), data=tmp_path)
    assert found == [{"_local_scalar_dense": 1}] * 2


def test_streamed_images_are_not_waited_for() -> None:
    images = StreamedImages(_noise, torch.arange(8), torch.zeros(8), resize=8)
    info = DatasetInfo("made", 2, 3, 6, (0.5,) * 3, (0.2,) * 3, 8, 8, flip=True, streamed=True)
    with PretendCuda() as cuda:
        source = StreamedSource(images, info, CUDA, augment=True, workers=0)
        batches = source.training(torch.arange(8), 4, torch.Generator())
        with cuda.counted() as counts:
            assert [batch.device for batch in batches] == [CUDA] * 2
    assert not counts.waits
    assert counts.copies.total() == 2


def _noise(position: int) -> Tensor:
    return torch.full((3, 10, 12), position, dtype=torch.uint8)


@pytest.mark.slow
def test_eigendecompositions_are_all_that_shampoo_waits_for() -> None:
    """torch looks at the outcome of each; those of the grafted one are due every second step here."""
    paper, grafted = (
        waits(spec(name, parameters))
        for name, parameters in (("shampoo", {"lr": 0.1}), ("shampoo_grafted", {"lr": 0.1, "update_freq": 2}))
    )
    assert all({*step} == {"_linalg_eigh"} for step in (*paper, *grafted[::2]))
    assert not sum(grafted[1::2], Counter())


@pytest.mark.slow
@pytest.mark.parametrize(
    "entries",
    [
        {"clip_norm": 1.0},
        {"accumulate": 3, "clip_norm": 1.0},
        {"autocast": "bf16"},
        {"autocast": "fp16", "accumulate": 2},
        {"channels_last": True, "deterministic": True},
        {"cudnn_benchmark": True, "tf32": True},
    ],
)
@pytest.mark.parametrize("optimizer", ["sgd", "sassha"])
def test_no_way_of_computing_gradients_waits(optimizer: str, entries: dict[str, Any]) -> None:
    assert not sum(waits(spec(optimizer, execution=entries)), Counter())


def test_diagnostics_wait_on_the_steps_that_they_record_alone() -> None:
    """On the others they follow the state, and keep an update to compare with, without a look at the clock."""
    diagnostics = {"every": 4, "record": ["update_norm", "update_cosine"], "state": ["exp_hessian", "exp_avg"]}
    found = waits(spec("sassha", diagnostics=diagnostics), 5)
    assert [bool(step) for step in found] == [False, False, False, True, False]
    assert found[3]["_local_scalar_dense"] > 0
