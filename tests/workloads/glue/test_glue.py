from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

pytest.importorskip("transformers", reason="needs the extra `language`")

from benchbench.optim.objective import Objective
from benchbench.workloads import Setup
from benchbench.workloads.glue import data as glue_data
from benchbench.workloads.glue import pretrained
from benchbench.workloads.glue.task import Finetuning, build, missing
from benchbench.workloads.glue.tasks import METRICS, TASKS
from benchbench.workloads.streams import Streams
from tests.helpers.command_line import call
from tests.workloads.glue.files import write_glue, write_model

CPU = torch.device("cpu")

SUITE = """\
name: small-glue
seeds: [0]
protocol: PROTOCOL
defaults:
  workloads: {workload: glue, model: MODEL, epochs: 1, batch_size: 8, schedule: {name: linear}}
workloads:
  SST-2: {task: sst2}
  MRPC: {task: mrpc}
  STS-B: {task: stsb}
  QQP: {task: qqp}
  MNLI: {task: mnli}
  QNLI: {task: qnli}
  RTE: {task: rte}
methods:
  AdamW: {optimizer: adamw, lr: 1e-3}
  SAM-AdamW: {optimizer: sam, base: adamw, lr: 1e-3, rho: 0.01}
  AdaHessian: {optimizer: adahessian, lr: 1e-2}
  Sophia-H: {optimizer: sophia_h, lr: 1e-3, lazy_hessian: 1}
  SASSHA: {optimizer: sassha, lr: 1e-2, rho: 0.01, lazy_hessian: 1}
"""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    write_glue(folder)
    write_model(folder / "models" / "small")
    return folder


def setup(data: Path, batch_size: int = 8, **changes: Any) -> Setup:
    return Setup(CPU, batch_size, Streams(0), data=data, **changes)


def made(data: Path, task: str, **changes: Any) -> Finetuning:
    settings = {"model": "small"} | {name: changes.pop(name) for name in ("validation", "examples") if name in changes}
    return build(setup(data, **changes), task=task, **settings)


@pytest.mark.parametrize("name", TASKS)
def test_the_files_of_glue_are_read(data: Path, name: str) -> None:
    contents = glue_data.load(data, name)
    assert list(contents) == ["train", *TASKS[name].tests.values()]
    train = contents["train"]
    assert len(train.texts) == len(train.labels) == 24
    assert {len(texts) for texts in train.texts} == {len(TASKS[name].columns)}
    if TASKS[name].labels:
        assert set(train.labels) == set(range(len(TASKS[name].labels)))
        assert train.labels[:3] == [index % len(TASKS[name].labels) for index in range(3)]
    else:
        assert 0 <= min(train.labels) < max(train.labels) <= 5


def test_a_lone_quotation_mark_is_a_word(data: Path) -> None:
    contents = glue_data.load(data, "sst2")
    assert all(text.endswith('"') for (text,) in contents["train"].texts)


def test_the_format_of_the_datasets_library_is_read(data: Path, tmp_path: Path) -> None:
    from datasets import Dataset

    contents = glue_data.load(data, "mnli")
    names = {"train": "train", "dev_matched": "validation_matched", "dev_mismatched": "validation_mismatched"}
    for file, sentences in contents.items():
        premises, hypotheses = zip(*sentences.texts, strict=True)
        columns = {"premise": premises, "hypothesis": hypotheses, "label": [int(label) for label in sentences.labels]}
        Dataset.from_dict(columns).save_to_disk(tmp_path / "glue" / "mnli" / names[file])
    assert glue_data.missing(tmp_path, "mnli") is None
    assert glue_data.load(tmp_path, "mnli") == contents


def test_a_damaged_label_is_named_with_its_line(data: Path, tmp_path: Path) -> None:
    folder = tmp_path / "glue" / "RTE"
    folder.mkdir(parents=True)
    text = (data / "glue" / "RTE" / "train.tsv").read_text()
    for file in ("train", "dev"):
        (folder / f"{file}.tsv").write_text(text.replace("\tnot_entailment", "\tmaybe", 1))
    with pytest.raises(ValueError, match=r"train.tsv:3: label must be entailment, not_entailment \(got 'maybe'\)"):
        glue_data.load(tmp_path, "rte")


def test_a_line_that_breaks_off_is_left_out(data: Path, tmp_path: Path) -> None:
    folder = tmp_path / "glue" / "RTE"
    folder.mkdir(parents=True)
    lines = (data / "glue" / "RTE" / "train.tsv").read_text().splitlines()
    for file in ("train", "dev"):
        (folder / f"{file}.tsv").write_text("\n".join([*lines[:3], "7\tonly this", *lines[3:]]))
    assert len(glue_data.load(tmp_path, "rte")["train"].labels) == 24


def test_what_is_missing_is_one_line(tmp_path: Path, data: Path) -> None:
    line = missing(tmp_path, task="sst2", model="small")
    assert line is not None
    assert f"GLUE's SST-2 is neither in {tmp_path / 'glue' / 'SST-2'} (TSV files) nor in" in line
    assert "benchbench prepare" in line
    assert "--synthetic" in line
    line = missing(data, task="sst2", model="other/name")
    assert line is not None
    assert f"the model other/name is not in {data / 'models' / 'other/name'}" in line
    assert missing(data, task="sst2", model="small") is None
    assert missing(data, task="sst2", model=str(data / "models" / "small")) is None


def test_batches_are_padded_to_their_longest_text(data: Path) -> None:
    task = made(data, "mrpc", protocol="paper")
    batches = list(task.batches(1))
    assert len(batches) == task.steps_per_epoch == 3
    for batch in batches:
        lengths = batch["attention_mask"].sum(1)
        assert batch["input_ids"].shape == (8, int(lengths.max()))
        assert torch.equal(batch["input_ids"] == 0, batch["attention_mask"] == 0)  # the padding's token is 0
        assert set(batch["token_type_ids"].unique().tolist()) == {0, 1}
    again = list(task.batches(1))
    assert all(torch.equal(a["input_ids"], b["input_ids"]) for a, b in zip(batches, again, strict=True))
    assert any(
        a["input_ids"].shape != b["input_ids"].shape or not torch.equal(a["input_ids"], b["input_ids"])
        for a, b in zip(batches, task.batches(2), strict=True)
    )


def test_an_epoch_has_every_example_once(data: Path) -> None:
    task = made(data, "stsb", protocol="paper")
    scores = sorted(score for batch in task.batches(3) for score in batch["labels"].tolist())
    assert scores == pytest.approx(sorted(glue_data.load(data, "stsb")["train"].labels))


def test_fixed_batches_have_every_example_once_in_the_same_order(data: Path) -> None:
    task = made(data, "sst2")
    fixed = torch.cat([batch["labels"] for batch in task.fixed_batches(None)])
    assert len(fixed) == sum(len(batch["labels"]) for batch in task.batches(1))
    part = [batch["labels"] for batch in task.fixed_batches(5)]
    assert torch.equal(torch.cat(part), fixed[:5])


def test_a_part_of_the_training_set_is_held_out(data: Path) -> None:
    task = made(data, "mnli", validation=0.25)
    assert sum(len(batch["labels"]) for batch in task.batches(1)) == 18
    assert set(task.evaluate("validation")) == {"accuracy", "loss"}
    with pytest.raises(KeyError):
        made(data, "mnli", protocol="paper").evaluate("validation")


@pytest.mark.parametrize("name", TASKS)
def test_metrics_are_those_of_scikit_learn_and_scipy(data: Path, name: str) -> None:
    """Against predictions that are made one by one, without padding."""
    from scipy.stats import pearsonr, spearmanr
    from sklearn.metrics import accuracy_score, f1_score

    task = made(data, name, protocol="paper")
    task.model.double()
    tokenizer = pretrained.load_tokenizer(data / "models" / "small")
    contents = glue_data.load(data, name)
    found = task.evaluate("test")
    for suffix, file in TASKS[name].tests.items():
        task.model.eval()
        with torch.no_grad():
            logits = np.concatenate(
                [task.model(**tokenizer(*texts, return_tensors="pt")).logits.numpy() for texts in contents[file].texts]
            )
        task.model.train()
        true = np.array(contents[file].labels, dtype=np.float32)
        if TASKS[name].labels:
            expected = {"accuracy": accuracy_score(true, logits.argmax(1))}
            if "f1" in TASKS[name].metrics:
                expected["f1"] = f1_score(true, logits.argmax(1), zero_division=0)
        else:
            expected = {"pearson": pearsonr(logits[:, 0], true)[0], "spearman": spearmanr(logits[:, 0], true)[0]}
        for metric, value in expected.items():
            assert found[f"{metric}{suffix}"] == pytest.approx(value, rel=1e-9)
    assert task.model.training


def test_constant_predictions_explain_nothing() -> None:
    true = np.arange(5.0)
    assert METRICS["pearson"](np.ones(5), true) == METRICS["spearman"](np.ones(5), true) == 0.0


def test_products_with_the_hessian_are_exact(data: Path) -> None:
    """Dropout with fixed masks, layer norm, embeddings, grouped convolutions and attention, in float64."""
    task = made(data, "rte", protocol="paper")
    model = task.model.double()
    batch = next(iter(task.batches(1)))
    parameters = list(model.parameters())[-6:]  # the last layers: a dense Hessian of all would be large
    for parameter in model.parameters():
        parameter.requires_grad_(any(parameter is each for each in parameters))

    def loss() -> torch.Tensor:
        torch.manual_seed(3)  # the same masks each time
        return task.loss(batch)

    sizes = [p.numel() for p in parameters]
    generator = torch.Generator().manual_seed(1)
    vector = [torch.randn(p.shape, generator=generator, dtype=torch.float64) for p in parameters]
    with torch.random.fork_rng(devices=[]):
        _, [product] = Objective(loss, parameters).with_hvp([vector])
        gradients = torch.autograd.grad(loss(), parameters, create_graph=True)
        flat = torch.cat([g.reshape(-1) for g in gradients])
        rows = [torch.autograd.grad(entry, parameters, retain_graph=True, allow_unused=True) for entry in flat]
    dense = torch.stack(
        [
            torch.cat(
                [
                    torch.zeros(n, dtype=torch.float64) if r is None else r.reshape(-1)
                    for r, n in zip(row, sizes, strict=True)
                ]
            )
            for row in rows
        ]
    )
    expected = dense @ torch.cat([v.reshape(-1) for v in vector])
    found = torch.cat([p.reshape(-1) for p in product])
    assert expected.norm() > 1e-3
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)


def test_made_up_texts_can_be_learnt(data: Path) -> None:
    task = made(data, "qnli", synthetic=True, protocol="paper", examples=256, batch_size=32)
    optimizer = torch.optim.AdamW(task.model.parameters(), lr=3e-3)
    for epoch in range(1, 13):
        for batch in task.batches(epoch):
            optimizer.zero_grad()
            task.loss(batch).backward()
            optimizer.step()
    assert task.evaluate("test")["accuracy"] > 0.8


@pytest.mark.usefixtures("workplace")
@pytest.mark.parametrize("protocol", ["paper", pytest.param("holdout", marks=pytest.mark.slow)])
def test_all_tasks_run_with_all_methods(data: Path, write_suite: Callable[..., Path], protocol: str) -> None:
    path = write_suite(SUITE.replace("MODEL", "small").replace("PROTOCOL", protocol))
    result = call("run", path, "--engine", "inline", "--data-dir", data, "--json")
    assert result.exit_code == 0, result.output
    runs = json.loads(result.stdout)["runs"]
    assert len(runs) == 35
    for run in runs:
        task = TASKS[run["spec"]["workload"]["parameters"]["task"]]
        assert run["result"]["outcome"] == "finished"
        names = {f"test/{metric}{suffix}" for metric in task.metrics for suffix in task.tests}
        assert names <= run["result"]["final"].keys()


@pytest.mark.usefixtures("workplace")
def test_missing_data_are_said_before_any_run(tmp_path: Path, write_suite: Callable[..., Path]) -> None:
    path = write_suite(SUITE.replace("MODEL", "small").replace("PROTOCOL", "paper"))
    result = call("run", path, "--data-dir", tmp_path / "nowhere")
    assert result.exit_code == 2
    lines = result.stderr.splitlines()
    assert len(lines) == 7
    assert all(line.startswith("error: ") and "is neither in" in line for line in lines)


@pytest.mark.usefixtures("workplace")
def test_the_suite_of_the_paper_can_be_rehearsed(data: Path) -> None:
    small = ["--set", "defaults.workloads.model=small", "--set", "defaults.workloads.examples=32"]
    short = [part for task in ("STS-B", "RTE") for part in ("--set", f"workloads.{task}.epochs=1")]
    result = call(
        *("run", "glue", "--synthetic", "--engine", "inline", "--json", "--data-dir", data, *small, *short),
        *("--set", "defaults.workloads.epochs=1", "--only", "seed=0,method=SASSHA"),
    )
    assert result.exit_code == 0, result.output
    runs = json.loads(result.stdout)["runs"]
    assert [run["spec"]["synthetic"] for run in runs] == [True] * 7
    assert {run["result"]["outcome"] for run in runs} == {"finished"}
