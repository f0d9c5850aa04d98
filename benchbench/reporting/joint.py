"""Several suites as one, for tables over all their workloads."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

from benchbench.reporting.tuning import tuned_on_test
from benchbench.values import Heading, Method, RunSpec, Suite


def join(suites: Sequence[Suite]) -> Suite:
    """Return one suite with the workloads of all: methods with equal labels share a row.

    A workload label that stands for different things in two suites is told apart by the suite's name; one that stands
    for the same in both is one column, with the runs of both.

    Args:
        suites: The suites, of which there must be at least one.
    """
    methods: dict[str, Method] = {}
    headings: dict[str, Heading] = {}
    targets: dict[str, float] = {}
    held_out: dict[str, str] = {}
    specs: dict[tuple[str, str, str], RunSpec] = {}
    meanings: dict[str, set[str]] = defaultdict(set)
    for suite in suites:
        for label in suite.workloads:
            spec = next(spec for spec in suite.specs if spec.workload_label == label)
            # What decides a workload's numbers apart from the method.
            decisive = (spec.workload, spec.epochs, spec.batch_size, spec.protocol, spec.synthetic)
            meanings[label].add(repr(decisive))
    for suite in suites:
        labels = {label: label if len(meanings[label]) == 1 else f"{label} ({suite.name})" for label in suite.workloads}
        for method in suite.methods:
            methods[method.label] = _joined(suite, method, labels, methods.get(method.label))
        for old, new in labels.items():
            heading = suite.heading(old)
            shown = heading.label if new == old else f"{heading.label} ({suite.name})"
            headings.setdefault(new, heading.model_copy(update={"label": shown}))
        targets |= {labels[old]: target for old, target in suite.targets.items()}
        held_out |= {labels[variant]: labels[base] for variant, base in suite.held_out.items()}
        for spec in suite.specs:
            moved = spec.model_copy(update={"workload_label": labels[spec.workload_label]})
            specs.setdefault((moved.workload_label, moved.method, moved.key), moved)
    return Suite(
        name=" + ".join(suite.name for suite in suites),
        title="; ".join(dict.fromkeys(suite.title for suite in suites)),
        protocol=suites[0].protocol,
        seeds=max((suite.seeds for suite in suites), key=len),
        methods=tuple(methods.values()),
        workloads=tuple(headings),
        headings=headings,
        targets=targets,
        held_out=held_out,
        robust_within=suites[0].robust_within,
        baseline=suites[0].baseline,
        tables=tuple(dict.fromkeys(table for suite in suites for table in suite.tables)),
        specs=tuple(specs.values()),
    )


def _joined(suite: Suite, method: Method, labels: Mapping[str, str], known: Method | None) -> Method:
    """Return a method with how it was tuned in its own suite added to what is known from others."""
    tuned = {labels[workload]: tuned for workload, tuned in method.tuned.items() if workload in labels}
    on_test = tuned_on_test(suite, method) or (known is not None and known.tuned_on == "test")
    # Said for each method, for the protocols of the suites may differ.
    said = {"tuned": {**tuned, **(known.tuned if known else {})}, "tuned_on": "test" if on_test else "validation"}
    return (known or method).model_copy(update=said)
