"""Everything that can be known of a suite is said before its first run, at the line where it stands."""

from __future__ import annotations

from tests.checks.suite_with_code import Write, problems


def test_a_good_suite_has_no_problems(write: Write) -> None:
    assert problems(write("{optimizer: adamw}", "{optimizer: AdamW, lr: 1, betas: [0, 0.9], foreach: null}")) == []


def test_what_the_command_line_sets_is_named(write: Write) -> None:
    (found,) = problems(write(), "methods.A.lr=-1")
    assert found.startswith("--set: methods.A.lr: adamw cannot be constructed: ")
