"""Rates, metrics and seeds that are not what one expects."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from benchbench.tracking.entities import stored_name
from tests.strangers.conftest import TASK, Command

RATES = '''
import numpy as np

class Rate(torch.optim.SGD):
    """Its groups have whatever `rate` makes of the learning rate."""
    rate = staticmethod(lambda lr, n: lr)
    def __init__(self, params, lr: float = 0.1):
        super().__init__(params, lr=lr)
        self.rates = [self.rate(lr, len(group["params"])) for group in self.param_groups]
        for group, rate in zip(self.param_groups, self.rates):
            group["lr"] = rate
    def step(self, closure):
        loss = closure()
        with torch.no_grad():
            for p in self.param_groups[0]["params"]:
                p -= 0.1 * p.grad
        return loss

class Open(Rate):
    rate = staticmethod(lambda lr, n: None)

class PerLayer(Rate):
    rate = staticmethod(lambda lr, n: torch.linspace(0.05, 0.15, n))

class Listed(Rate):
    rate = staticmethod(lambda lr, n: [0.05, 0.15])

class Numpy(Rate):
    rate = staticmethod(lambda lr, n: np.float32(lr))

class Text(Rate):
    rate = staticmethod(lambda lr, n: "auto")

class Empty(Rate):
    rate = staticmethod(lambda lr, n: [])
'''


@pytest.mark.parametrize(
    ("name", "logged", "remark"),
    [
        ("Open", None, "not logged: None is no number"),
        ("PerLayer", 0.1, "the mean of 4 entries"),
        ("Listed", 0.1, "the mean of 2 entries"),
        ("Numpy", 0.1, None),
        ("Text", None, "not logged: auto is no number"),
        ("Empty", None, "not logged: it is empty"),
    ],
)
def test_rates_of_all_kinds_train(command: Command, name: str, logged: float | None, remark: str | None) -> None:
    done = command(RATES, {"It": {"optimizer": f"mine.py:{name}"}})
    result = done.results["It"]
    assert result["outcome"] == "finished", result["message"]
    assert result["final"].get("schedule/lr") == (None if logged is None else pytest.approx(logged))
    assert result["environment"].get("schedule/lr") == remark


def test_a_rate_that_is_no_number_cannot_be_scheduled(command: Command) -> None:
    done = command(RATES, {"It": {"optimizer": "mine.py:Open", "schedule": {"lr": {"name": "cosine"}}}})
    assert done.exit_code == 2
    assert "no such number to schedule" in done.errors[0]


def test_the_rate_of_transformers_adafactor_is_its_own(command: Command) -> None:
    settings = {"scale_parameter": True, "relative_step": True, "warmup_init": True}
    done = command("", {"It": {"optimizer": "transformers.optimization:Adafactor", **settings}})
    assert done.results["It"]["outcome"] == "finished"
    assert "schedule/lr" not in done.results["It"]["final"]


GROUPS = '''
class TwoSchedules(torch.optim.SGD):
    """Its second group has a number that the first one lacks, and no momentum."""
    def __init__(self, params, lr: float = 0.1):
        super().__init__([{"params": params[:2]}, {"params": params[2:], "decay": 0.5}], lr=lr)
        del self.param_groups[0]["weight_decay"]
        self.param_groups[0]["weight_decay"] = 0
'''


def test_a_group_may_lack_what_is_scheduled(command: Command) -> None:
    schedule = {"decay": {"name": "linear", "end_factor": 0.5}}
    done = command(GROUPS, {"It": {"optimizer": "mine.py:TwoSchedules", "schedule": schedule}})
    assert done.results["It"]["outcome"] == "finished", done.results["It"]["message"]
    assert 0.25 <= done.results["It"]["final"]["schedule/decay"] < 0.5


METRIC = """

class Odd(TensorClassification):
    def evaluate(self, part):
        return {**super().evaluate(part), "odd": VALUE}

def odd(setup: Setup):
    model = nn.Sequential(nn.Linear(5, 6), nn.Tanh(), nn.Linear(6, 2))
    return Odd(setup, model, split(24, 1), {"validation": split(8, 2), "test": split(8, 3)})

odd = Workload(odd, trial=False)
"""


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ("torch.tensor([0.5])", 0.5),
        ("__import__('numpy').float32(0.25)", 0.25),
        ("True", 1.0),
        ("None", "the metric 'odd' must be one number, got NoneType None"),
        ("[0.5, 0.25]", "the metric 'odd' must be one number, got list [0.5, 0.25]"),
        ("{'micro': 1}", "the metric 'odd' must be one number, got dict {'micro': 1}"),
        ("torch.ones(2)", "the metric 'odd' must be one number, got Tensor tensor([1., 1.])"),
        ("'0.5'", "the metric 'odd' must be one number, got str 0.5"),
    ],
)
def test_a_metric_that_is_no_number_is_named(command: Command, workplace: Path, value: str, found: float | str) -> None:
    (workplace / "odd.py").write_text(TASK + METRIC.replace("VALUE", value))
    done = command("", {"It": {"optimizer": "sgd", "lr": 0.1}}, workload={"workload": "odd.py:odd"})
    result = done.results.get("It", {"message": done.stderr})
    if isinstance(found, str):
        assert found in result["message"]
    else:
        assert result["final"]["test/odd"] == found


@pytest.mark.parametrize("name", ["acc@1", "accuracy (%)", "F₁, β=1", "acc_x40_1", "a//b", "../up"])
def test_every_name_of_a_metric_reaches_the_store_and_the_tables(command: Command, workplace: Path, name: str) -> None:
    (workplace / "odd.py").write_text(TASK + METRIC.replace('"odd": VALUE', f"{name!r}: 0.5"))
    workload = {"workload": "odd.py:odd", "metrics": [f"test/{name}"]}
    done = command("", {"It": {"optimizer": "sgd", "lr": 0.1}}, workload=workload)
    assert (done.exit_code, done.results["It"]["final"][f"test/{name}"]) == (0, 0.5), done.stderr
    shutil.rmtree(workplace / ".benchbench")
    again = command("", {"It": {"optimizer": "sgd", "lr": 0.1}}, "report", "suite.yaml", workload=workload)
    assert "0.5000" in again.stdout


def test_names_of_metrics_stay_apart_in_the_store() -> None:
    names = ["acc@1", "acc_x40_1", "acc-1", "a/b", "a//b", "a/./b", "a/../b", "long" * 80, "long" * 79 + "@"]
    assert len({stored_name(name) for name in names}) == len(names)
    assert max(len(stored_name(name)) for name in names) <= 250  # MLflow's limit
    assert stored_name("validation/acc-1 of: 2.0") == "validation/acc-1 of: 2.0"


SEEDED = '''
import numpy as np

class Noisy(torch.optim.SGD):
    def __init__(self, params, lr: float = 0.1, *, seed: int = 0):
        super().__init__(params, lr=lr)
        self.noise = np.random.RandomState(seed).randn()

class Short(Noisy):
    """Packs its seed into 31 bits."""
    def __init__(self, params, lr: float = 0.1, *, seed: int = 0):
        super().__init__(params, lr, seed=seed)
        seed.to_bytes(4, signed=True)
'''


def test_seeds_fit_into_the_generators_of_numpy(command: Command) -> None:
    done = command(SEEDED, {"It": {"optimizer": "mine.py:Noisy"}})
    assert done.results["It"]["outcome"] == "finished", done.results["It"]["message"]


def test_a_seed_that_does_not_fit_is_said_before_the_first_run(command: Command) -> None:
    done = command(SEEDED, {"It": {"optimizer": "mine.py:Short"}})
    assert done.exit_code == 2
    assert "cannot be constructed: OverflowError" in done.errors[0]
