"""Base class of frozen values."""

from __future__ import annotations

import json
from typing import Any

from pydantic import BaseModel, ConfigDict


class Frozen(BaseModel):
    """An immutable value that rejects unknown fields and keeps NaN and infinity through JSON."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="strings")


class Documented(Frozen):
    """A frozen value whose fields have descriptions: the text below each is that of the JSON schema and the docs."""

    model_config = ConfigDict(use_attribute_docstrings=True)


def canonical_json(content: Any) -> str:
    """Return `content` as JSON with sorted keys and no spaces: equal values give equal text."""
    return json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
