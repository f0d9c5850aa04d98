"""Small suites as text, in which tests replace what they are about."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml

SGD = {"optimizer": "sgd", "lr": 0.1}


def line(**parameters: Any) -> dict[str, Any]:
    """The workload of milliseconds; `write_suite` puts the path of the stub plugins in place of STUBS."""
    return {"workload": "STUBS:line", "epochs": 2, "batch_size": 8, **parameters}


def suite(*, workloads: Mapping[str, Any] | None = None, methods: Mapping[str, Any] | None = None, **keys: Any) -> str:
    """A suite of one run unless more is given: a line per key, then one per workload and method."""
    lines = [f"{key}: {_flow(value)}" for key, value in {"name": "lines", "seeds": [0], **keys}.items()]
    for key, entries in {"workloads": workloads or {"line": line()}, "methods": methods or {"SGD": SGD}}.items():
        lines += [f"{key}:", *(f"  {_flow(label)}: {_flow(entry)}" for label, entry in entries.items())]
    return "".join(f"{each}\n" for each in lines)


def _flow(value: Any) -> str:
    """A value on one line, words in double quotes only where YAML needs quotes."""
    text = yaml.safe_dump(value, default_flow_style=True, width=float("inf"), sort_keys=False, allow_unicode=True)
    return str(text).removesuffix("\n").removesuffix("\n...")
