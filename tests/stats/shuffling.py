"""The same mapping in another order of its keys, for tests that demand equal results."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import TypeVar

Key = TypeVar("Key")
Value = TypeVar("Value")


def shuffled(mapping: Mapping[Key, Value], source: random.Random) -> dict[Key, Value]:
    items = list(mapping.items())
    source.shuffle(items)
    return dict(items)
