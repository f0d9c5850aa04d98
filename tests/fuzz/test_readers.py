"""Inputs that once broke a reader, and those that hypothesis finds; what is no error of the reader is raised here."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fuzz.targets import TARGETS

BROKE = sorted(path for path in (Path(__file__).parent / "broke").iterdir() if path.name != ".gitkeep")

SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
JSON = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


@pytest.mark.parametrize("path", BROKE, ids=lambda path: path.name)
def test_what_broke_a_reader_breaks_it_no_more(path: Path) -> None:
    TARGETS[path.name.partition("-")[0]](path.read_bytes())


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS.keys())
@settings(max_examples=25)
@given(content=st.binary(max_size=200) | JSON.map(lambda value: repr(value).encode("utf-8", "surrogatepass")))
def test_a_reader_ends_in_a_value_or_in_its_error(target: Callable[[bytes], None], content: bytes) -> None:
    target(content)
