"""The workload: batches, perplexities against other computations, missing data, and whole runs."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from benchbench import suite as suites
from benchbench.plugins.factories import Factories
from benchbench.training.steps import Training
from benchbench.values import Component, Cost, Execution, Piecewise, RunSpec
from benchbench.workloads import Setup
from benchbench.workloads.streams import Streams
from benchbench.workloads.text.language_modelling import LanguageModelling, build, language_modelling, missing
from tests.helpers.command_line import call
from tests.training.test_attempt import assert_equal, perform, stop_after
from tests.training.test_trainer import spec

CPU = torch.device("cpu")
SMALL = {"preset": "gpt-tiny", "layers": 1, "width": 8, "heads": 2}
BLOCK = 16

SUITE = """\
name: small-text
seeds: [0]
workloads:
  notes: {workload: language-modelling, corpus: notes.txt, model: {preset: gpt-tiny, layers: 1, width: 8, heads: 2},
    block: 16, blocks_per_epoch: 12, batch_size: 4, epochs: 1, decay: linear}
methods:
  AdamW: {optimizer: adamw, lr: 1e-3}
  SAM-AdamW: {optimizer: sam, base: adamw, lr: 1e-3, rho: 0.01}
  AdaHessian: {optimizer: adahessian, lr: 1e-2}
  Sophia-H: {optimizer: sophia_h, lr: 1e-3, lazy_hessian: 1}
  SASSHA: {optimizer: sassha, lr: 1e-2, schedule: {rho: {name: piecewise, milestones: [0.5], factors: [0, 1]}}}
"""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a text of about 6000 bytes and shards of 16-bit tokens."""
    folder = tmp_path_factory.mktemp("data")
    draws = np.random.default_rng(0)
    words = ["the", "cat", "sat", "on", "a", "mat;", "größer", "said"]
    text = "".join(" ".join(draws.choice(words, size=8)) + "\n" for _ in range(200))
    (folder / "notes.txt").write_text(text, encoding="utf-8")
    (folder / "shards").mkdir()
    for name, length in (("train", 3000), ("val", 500)):
        draws.integers(40, size=length).astype(np.uint16).tofile(folder / "shards" / f"{name}.bin")
    return folder


def made(data: Path, corpus: str = "notes.txt", seed: int = 0, **changes: Any) -> LanguageModelling:
    parameters = {"block": BLOCK, "model": SMALL}
    for name in ("blocks_per_epoch", "model", "vocabulary", "decay"):
        if name in changes:
            parameters[name] = changes.pop(name)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build(Setup(CPU, 4, Streams(seed), data=data, **changes), corpus=corpus, **parameters)


def written(data: Path, part: slice) -> list[int]:
    """Return the bytes of some of the text's 200 lines."""
    lines = (data / "notes.txt").read_text(encoding="utf-8").splitlines(keepends=True)
    return list("".join(lines[part]).encode())


def test_blocks_of_an_epoch_are_the_same_for_a_seed_and_cover_the_text(data: Path) -> None:
    task = made(data)
    epoch = torch.cat(list(task.batches(2)))
    assert torch.equal(epoch, torch.cat(list(made(data).batches(2))))
    assert not torch.equal(epoch[:4], torch.cat(list(task.batches(3)))[:4])
    assert not torch.equal(epoch[:4], torch.cat(list(made(data, seed=1).batches(2)))[:4])
    assert epoch.shape[1] == BLOCK + 1
    assert len(list(task.batches(2))) == task.steps_per_epoch
    train = bytes(task_text(task, "train"))
    places = sorted(train.index(bytes(row)) for row in epoch.tolist() if train.count(bytes(row)) == 1)
    assert all((later - earlier) % BLOCK == 0 for earlier, later in pairwise(places))
    missed = Counter(train) - Counter(epoch[:, 1:].flatten().tolist())
    assert missed.total() < 2 * BLOCK + 1


def task_text(task: LanguageModelling, split: str) -> list[int]:
    """Return the tokens of a split as the task has them."""
    stream = task._text.splits[split]
    [whole] = stream.batches(torch.tensor([0]), 1, len(stream))
    return whole[0].tolist()


def test_splits_are_those_of_the_protocol(data: Path) -> None:
    holdout, paper = made(data), made(data, protocol="paper")
    parts = {split: task_text(holdout, split) for split in ("train", "validation", "test")}
    assert parts["train"] + parts["validation"] + parts["test"] == written(data, slice(None))
    assert task_text(paper, "train") == parts["train"] + parts["validation"]
    assert task_text(paper, "test") == parts["test"]
    with pytest.raises(KeyError):
        paper.evaluate("validation")


def test_perplexity_is_that_of_logits_in_numpy(data: Path) -> None:
    """Every token but the first is predicted once, from the tokens before it in its block."""
    task = made(data, model={**SMALL, "dropout": 0.4})
    task.model.double()
    tokens = task_text(task, "test")
    task.model.eval()
    losses = []
    with torch.no_grad():
        for place in range(1, len(tokens)):
            begin = (place - 1) // BLOCK * BLOCK
            logits = task.model(torch.tensor([tokens[begin:place]]))[0, -1].numpy()
            losses.append(np.log(np.exp(logits).sum()) - logits[tokens[place]])
    task.model.train()
    found = task.evaluate("test")
    assert found["loss"] == pytest.approx(np.mean(losses), rel=1e-9)
    assert found["perplexity"] == pytest.approx(np.exp(np.mean(losses)), rel=1e-9)
    assert task.model.training


def test_the_loss_is_the_mean_over_all_tokens_of_a_batch(data: Path) -> None:
    task = made(data)
    task.model.double()
    batch = next(iter(task.batches(1)))
    logits = task.model(batch[:, :-1]).detach().numpy()
    shares = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    chosen = np.take_along_axis(shares, batch[:, 1:, None].numpy(), -1)
    assert task.loss(batch).item() == pytest.approx(-np.log(chosen).mean(), rel=1e-12)


def test_the_unigram_baseline_is_that_of_a_counter(data: Path) -> None:
    task = made(data)
    train, test = (Counter(task_text(task, split)[1:]) for split in ("train", "test"))
    loss = -sum(n * math.log((train[w] + 1) / (train.total() + 256)) for w, n in test.items()) / test.total()
    found = task.evaluate("test")["unigram_perplexity"]
    assert found == pytest.approx(math.exp(loss), rel=1e-12)
    assert "unigram_perplexity" not in task.evaluate("validation")


def test_shards_keep_as_many_tokens_for_validation_as_for_test(data: Path) -> None:
    content = {name: np.fromfile(data / "shards" / f"{name}.bin", np.uint16).tolist() for name in ("train", "val")}
    holdout = made(data, "shards/", vocabulary=64, blocks_per_epoch=10)
    assert task_text(holdout, "train") == content["train"][:-500]
    assert task_text(holdout, "validation") == content["train"][-500:]
    assert task_text(holdout, "test") == content["val"]
    paper = made(data, "shards/", vocabulary=64, protocol="paper")
    assert task_text(paper, "train") == content["train"]
    assert holdout.steps_per_epoch == 3
    assert [len(batch) for batch in holdout.batches(1)] == [4, 4, 2]


def test_a_text_of_less_than_two_blocks_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("short\n" * 4)
    with pytest.raises(ValueError, match="fewer than two blocks"):
        made(tmp_path)


def test_made_up_text_can_be_learnt(data: Path) -> None:
    task = made(data, synthetic=True, blocks_per_epoch=960, model={**SMALL, "width": 32})
    optimizer = torch.optim.AdamW(task.parameters(), lr=1e-2)
    for batch in task.batches(1):
        optimizer.zero_grad()
        task.loss(batch).backward()
        optimizer.step()
    found = task.evaluate("test")
    assert found["perplexity"] < 0.5 * found["unigram_perplexity"]


@pytest.mark.parametrize(
    ("parameters", "problem"),
    [
        ({"corpus": "pydocs"}, "unknown corpus 'pydocs'; allowed: pydoc, .*did you mean 'pydoc'?"),
        ({"corpus": "absent.txt"}, "no text file .*absent.txt"),
        ({"corpus": "absent/"}, "no token shards train.bin and val.bin in .*absent"),
        ({"corpus": "shards/", "tokenizer": "gpt2"}, "shards are tokens already"),
        ({"vocabulary": 300}, "vocabulary can be chosen for the tokenizer bpe and for shards only"),
        ({"tokenizer": "bpe", "vocabulary": 255}, "vocabulary must be at least 256"),
        ({"block": 0}, "must be at least 1"),
        ({"model": "gpt"}, "unknown model 'gpt'"),
    ],
)
def test_what_is_missing_or_wrong_is_one_line(data: Path, parameters: dict[str, Any], problem: str) -> None:
    line = missing(data, **parameters)
    assert line is not None
    assert "\n" not in line
    assert re.search(problem, line)


def test_nothing_is_missing_where_all_is_there(data: Path) -> None:
    assert missing(data) is missing(data, corpus="notes.txt") is missing(data, corpus="shards/", vocabulary=64) is None
    language_modelling.prepare(data, corpus="notes.txt")
    with pytest.raises(FileNotFoundError, match="no token shards"):
        language_modelling.prepare(data, corpus="absent/")


@pytest.mark.usefixtures("workplace")
def test_all_methods_run_on_a_text(data: Path, write_suite: Callable[..., Path]) -> None:
    result = call("run", write_suite(SUITE), "--engine", "inline", "--data-dir", data, "--json")
    assert result.exit_code == 0, result.output
    runs = json.loads(result.stdout)["runs"]
    assert len(runs) == 5
    for run in runs:
        assert run["result"]["outcome"] == "finished"
        final = run["result"]["final"]
        assert final["test/perplexity"] == pytest.approx(math.exp(final["test/loss"]))
        assert final["test/unigram_perplexity"] > 1
        environment, cost = run["result"]["environment"], Cost.model_validate(run["result"]["cost"])
        assert environment["corpus"].startswith("sha256 ")
        tokens = float(environment["tokens_per_second"]) * cost.steady_seconds
        assert tokens == pytest.approx(12 * 16, rel=0.01)  # the rate is rounded


@pytest.mark.usefixtures("workplace")
def test_a_missing_text_is_said_before_any_run(tmp_path: Path, write_suite: Callable[..., Path]) -> None:
    result = call("run", write_suite(SUITE), "--data-dir", tmp_path / "nowhere")
    assert result.exit_code == 2
    (line,) = result.stderr.splitlines()
    assert "no text file" in line
    assert str(tmp_path / "nowhere" / "notes.txt") in line


def curved(dropout: float, **execution: Any) -> RunSpec:
    """Return a run of ten steps with Hessian-vector products."""
    parameters = {"model": {**SMALL, "dropout": dropout}, "block": BLOCK, "blocks_per_epoch": 20, "decay": "linear"}
    chosen = spec("sassha", epochs=2, parameters={"lr": 0.01, "lazy_hessian": 3}, synthetic=True)
    changes = {
        "workload": Component(target="language-modelling", parameters=parameters),
        "batch_size": 4,
        "execution": Execution(**execution),
    }
    return chosen.model_copy(update=changes)


def test_a_batch_in_parts_gives_the_steps_of_the_whole(tmp_path: Path) -> None:
    trained = []
    with torch.random.fork_rng(devices=[]):
        for parts in (1, 3):
            chosen = curved(0.0, accumulate=parts, clip_norm=0.5)
            training = Training(chosen, Factories.of(chosen), CPU, tmp_path)
            training.task.model.double()
            for batch in training.task.batches(1):
                training.step(batch)
            trained.append(list(training.task.model.parameters()))
            assert (training.ledger.steps, training.ledger.hvps) == (5, 2)
    torch.testing.assert_close(trained[0], trained[1], rtol=1e-9, atol=1e-12)


def test_a_stopped_run_goes_on_in_the_middle_of_an_epoch(tmp_path: Path) -> None:
    chosen = curved(0.2, accumulate=2, clip_norm=0.5)
    perform(tmp_path / "undisturbed", chosen)
    perform(tmp_path / "stopped", chosen, stop_after(3))
    perform(tmp_path / "stopped", chosen, stop_after(4))
    perform(tmp_path / "stopped", chosen)
    assert_equal(tmp_path / "undisturbed", tmp_path / "stopped")


def test_the_suite_of_gpt2_is_that_of_the_authors() -> None:
    found = {each.method: each for each in suites.load("gpt2").specs}
    assert len(found) == 3
    for each in found.values():
        parameters = each.workload.parameters
        assert parameters["blocks_per_epoch"] * each.epochs == 50_000 * 480  # type: ignore[operator]
        assert (each.batch_size, each.execution.clip_norm, each.execution.autocast) == (480, 1.0, "bf16")
        lowest = each.optimizer.parameters["lr"] * each.schedule["lr"].end_factor  # type: ignore[operator, union-attr]
        assert lowest == pytest.approx(1.5e-5 if each.method == "SASSHA" else 3e-5)
    later = Piecewise(milestones=(2,), factors=(0, 1))
    assert found["SAM-AdamW"].schedule["rho"] == found["SASSHA"].schedule["rho"] == later
    assert found["SASSHA"].schedule["hessian_power"] == Piecewise(milestones=(2,), factors=(1, 0.8))


def test_fixed_batches_are_blocks_of_the_whole_text_in_the_same_order_for_every_seed(data: Path) -> None:
    task = made(data)
    rows = torch.cat(list(task.fixed_batches(None)))
    assert torch.equal(rows, torch.cat(list(made(data, seed=1).fixed_batches(None))))
    assert torch.equal(torch.cat(list(task.fixed_batches(5))), rows[:5])
    train = task_text(task, "train")
    blocks = [train[start : start + BLOCK + 1] for start in range(0, BLOCK * len(rows), BLOCK)]
    assert sorted(blocks) == sorted(rows.tolist())
    assert len(train) - BLOCK * len(rows) < 2 * BLOCK
