"""Base class of frozen values."""

from __future__ import annotations

import json
from typing import Any

from pydantic import BaseModel, ConfigDict


class Frozen(BaseModel):
    """An immutable value that rejects unknown fields and keeps NaN and infinity through JSON."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="strings")


def canonical_json(content: Any) -> str:
    """Return `content` as JSON with sorted keys and no spaces: equal values give equal text."""
    return json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
