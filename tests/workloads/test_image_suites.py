"""Every bundled suite on images runs as a whole, on made-up data, with small budgets and networks."""

from __future__ import annotations

import json

import pytest

from benchbench import suite as suites
from tests.helpers.command_line import call

NARROW = {
    "resnet20": "{name: resnet20, width: 4}",
    "resnet32": "{name: resnet32, width: 4}",
    "wrn-28-10": "{name: 'benchbench.workloads.models:WideResNet', depth: 10, widen: 1}",
}
"""In place of networks for small images; those for ImageNet keep their size."""


@pytest.mark.slow
@pytest.mark.usefixtures("workplace")
@pytest.mark.parametrize(("name", "runs"), [("cifar", 32), ("label_noise", 48), ("imagenet", 14), ("cost", 12)])
def test_a_suite_of_the_paper_can_be_rehearsed(name: str, runs: int) -> None:
    changes = ["seeds=[0]", *(["measure=[]"] if name == "imagenet" else [])]  # the costs are those of `cost`
    for spec in {spec.workload_label: spec for spec in suites.load(name).specs}.values():
        place = f"workloads.{spec.workload_label}"
        batch_size = 2 if spec.workload.parameters["dataset"] == "imagenet" else 4
        changes += [f"{place}.epochs=1", f"{place}.batch_size={batch_size}", f"{place}.examples={2 * batch_size}"]
        if narrow := NARROW.get(str(spec.workload.parameters["model"])):
            changes.append(f"{place}.model={narrow}")
    options = [part for change in changes for part in ("--set", change)]
    result = call("run", name, "--synthetic", "--engine", "inline", "--json", *options)
    assert result.exit_code == 0, result.output
    rows = json.loads(result.stdout)["runs"]
    assert len(rows) == runs
    assert all(row["spec"]["synthetic"] for row in rows)
    assert [row for row in rows if row["result"]["outcome"] != "finished"] == []
