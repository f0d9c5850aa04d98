"""Texts whose values are replaced: they read as was asked for, and what is not concerned stays as it was."""

from __future__ import annotations

import copy
import json
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchbench import suite as suites
from benchbench.suite.yaml_source import parse
from benchbench.suite.yaml_writer import as_text, edited
from tests.suite.texts import Text

# Texts are written with the escapes of JSON, whose pairs of surrogates are no characters in YAML.
WORDS = st.text(st.characters(max_codepoint=0xFFFF, exclude_categories=["Cs"]), max_size=8)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | WORDS
KEYS = st.sampled_from(["a", "b", "lr", "x: #", "é", "1", "methods", "search"]) | WORDS
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4), max_leaves=12
)
MAPPINGS = st.dictionaries(KEYS, VALUES, min_size=1, max_size=4)


@st.composite
def changes(draw: st.DrawFn, value: Any) -> Any:
    """A value that is like another one: with keys or items removed, replaced, added, at any depth."""
    if not isinstance(value, dict | list) or draw(st.integers(0, 5)) == 0:
        return draw(VALUES)
    kept = [key for key in (value if isinstance(value, dict) else range(len(value))) if draw(st.integers(0, 4))]
    changed = {key: draw(changes(value[key])) if draw(st.booleans()) else value[key] for key in kept}
    added = draw(st.dictionaries(KEYS, VALUES, max_size=2))
    return {**changed, **added} if isinstance(value, dict) else [*changed.values(), *added.values()]


def exact(value: Any) -> str:
    return json.dumps(value, sort_keys=True)


@settings(max_examples=200)
@given(st.data())
def test_an_edited_text_reads_as_its_new_content(data: Any) -> None:
    """Texts without anchors can always be edited, whatever style they are in."""
    old = data.draw(MAPPINGS)
    new = data.draw(changes(old).filter(lambda value: isinstance(value, dict) and value))
    text = edited(str(Text(old, data.draw)), new)
    assert text is not None
    found = parse(text, "").data
    assert exact(found) == exact(new)
    for key in ("methods", "search"):
        if isinstance(new.get(key), dict):
            assert list(found[key]) == list(new[key])


NASTY = [
    "a: &x {b: 1, c: [1, 2]}\nmethods: {<<: *x, d: *x, e: [*x, *x]}\nf: *x\n",
    "a: |\n  text\n  more\nb: >-\n  folded\n  text\n\n# c\nc: |+\n  keep\n\nd: 1",
    "a: 1\r\nb:\r\n  c: [1,\r\n    2]  # x\r\n  d: y\r\n",
    "'quo''ted': \"dou\\\"ble # no\"\n\"\\u00e9\": é数字 # ü\nλ: [ 'a' , b ]\n",
    "? a\n: 1\n? b\n: {c: 1}\nd: 2\n",
    "%YAML 1.2\n---\na: 1\nb: [x]\n...\n",
    "{a: 1, b: {c: 2, d: [1, 2, ], }, e, f: }\n",
    "a:\n- 1\n- b: 2\n  c: 3\n-\n  d: 4\n- [x, y]\n- - p\n  - q\nb:\n  - z\n",
    "a: &s 3\nb: *s\nc: !!str 5\nd: !!float 2\ne: &t !!str x\nf: &u\n  g: 1\n  h: 2\ni: *u\nj:\nk: ~\n",
    "a: plain text\n  on two lines # c\nb: 'single\n  quoted'\nc: \"double\\\n  quoted\"\nd: x\n",
    "base: &base\n  x: 1\n  y: {z: 2}\none: {<<: *base, x: 2}\ntwo:\n  <<: [*base, {w: 1}]\n  v: 1\nc: {<<: {q: 1}}\n",
    "a:   {b: 1,c: 2}   # t\t\n\n\n# x\nb:\n    c:\n        d: 1\n      # odd\n    e: 2\n",
    "a: [1, 2] # \u2028b: 1\nc: 2\x85d: 3\n",
    "\ufeffa: 1\nb: 2\n",
    "a: !!map {b: 1}\nc: &x !!seq\n- 1\nd: *x\n",
    "a: [b: 1, c: 2]\nd: [{e: 1}]\n",
    "a: &l\n- 1\n- 2\nb: *l\n",
]  # fmt: skip


@pytest.mark.parametrize("text", NASTY)
@given(data=st.data())
def test_what_is_hard_to_edit_is_edited_rightly_or_not_at_all(text: str, data: Any) -> None:
    new = data.draw(changes(parse(text, "").data).filter(lambda value: isinstance(value, dict) and value))
    found = edited(text, new)
    assert found is None or exact(parse(found, "").data) == exact(new)


@pytest.mark.parametrize("text", NASTY)
def test_a_text_that_says_it_already_stays_as_it_is(text: str) -> None:
    assert edited(text, parse(text, "").data) == text


@pytest.mark.parametrize("name", suites.bundled())
def test_bundled_suites_keep_their_comments(name: str) -> None:
    text = suites.find(name).read_text(encoding="utf-8")
    content = copy.deepcopy(parse(text, "").data)
    content["name"] = "other"
    content["tables"] = [*content.get("tables", ["accuracy", "cost"]), "tuning"]
    for entry in content["methods"].values():
        entry["lr"] = 0.125
        entry.setdefault("overrides", {}).setdefault(next(iter(content["workloads"])), {})["epochs"] = 7
    found = edited(text, content)
    assert found is not None
    assert parse(found, "").data == content == parse(as_text(content), "").data
    assert re.findall("#.*", found) == re.findall("#.*", text)


SUITE = """\
# Which learning rate?
name: lines     # of a plane
tuning: {budget: {trials: 2}}
seeds: [0,   1]
methods:
    # ours
    A: &a
        optimizer: sgd      # torch's
        search: {lr: {uniform: [0, 1]}}     # wide
        weight_decay: 5e-4
    B: {<<: *a, momentum: 0.9}  # with momentum
    C: {optimizer: adamw,       # in lines
        lr: 1e-3}
tables:
- accuracy   # first
# the end
"""

EDITED = """\
# Which learning rate?
name: chosen     # of a plane
seeds: [0,   1]
methods:
    # ours
    A: &a
        optimizer: sgd      # torch's
        weight_decay: 5e-4
        lr: 0.25
        tuned: {w: {trials: {runs: 2}}}
    B: {<<: *a, momentum: 0.9, lr: 0.5}  # with momentum
    C: {optimizer: adamw,       # in lines
        lr: 0.002, overrides: {w: {epochs: 3}}}
tables:
- accuracy   # first
- tuning
# the end
"""


def test_an_edit_changes_no_more_than_it_must() -> None:
    content = parse(SUITE, "").data
    content["name"] = "chosen"
    del content["tuning"]
    for label, lr in (("A", 0.25), ("B", 0.5)):
        del content["methods"][label]["search"]
        content["methods"][label] |= {"lr": lr, "tuned": {"w": {"trials": {"runs": 2}}}}
    content["methods"]["C"] |= {"lr": 0.002, "overrides": {"w": {"epochs": 3}}}
    content["tables"].append("tuning")
    assert edited(SUITE, content) == EDITED


def test_an_anchor_that_is_still_used_cannot_be_removed() -> None:
    assert edited("a: &a {b: 1}\nc: *a\n", {"c": {"b": 1}}) is None
