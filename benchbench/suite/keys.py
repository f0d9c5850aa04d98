"""The keys of suite files: their JSON schema, and the same in words."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchbench.problems import BadInputError, Problem, nearest_name
from benchbench.suite.schema import SuiteFile

_BOUNDS = {"minimum": ">=", "exclusiveMinimum": ">", "maximum": "<=", "exclusiveMaximum": "<"}


@dataclass(frozen=True)
class Key:
    """A key of suite files, as `benchbench show suite` and the documentation describe it.

    Attributes:
        key: Its name.
        values: The values that it takes.
        default: What it is where it is left out: a value, `required`, or empty where the meaning says it.
        meaning: Its meaning.
    """

    key: str
    values: str
    default: str
    meaning: str


def json_schema() -> dict[str, Any]:
    """Return the JSON schema of suite files, for editors."""
    schema = _on_one_line(SuiteFile.model_json_schema())
    schema["patternProperties"] = {"^x-": {"description": "Ignored: a place for anchors."}}
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def keys(path: str = "") -> list[Key]:
    """Return the keys below a key of suite files, or that key itself where it has none.

    Args:
        path: Such as `methods.overrides`; labels of workloads and methods are left out. Empty: the top level.

    Raises:
        BadInputError: There is no such key.
    """
    schema = json_schema()
    definitions: Mapping[str, Any] = schema["$defs"]
    node, found = schema, []
    for name in path.split(".") if path else ():
        properties = _properties(node, definitions)
        if name not in properties:
            message = f"unknown key of a suite; allowed: {', '.join(properties) or 'none below it'}"
            raise BadInputError([Problem(message, field=path, value=name, nearest=nearest_name(name, properties))])
        node, found = properties[name], [_key(name, properties[name], node, definitions)]
    return [_key(name, each, node, definitions) for name, each in _properties(node, definitions).items()] or found


def allowed(location: Sequence[str | int]) -> list[str]:
    """Return the keys that are allowed at the location of an error, as pydantic names it."""
    schema = json_schema()
    node: Mapping[str, Any] = schema
    for part in location:
        node = _child(node, part, schema["$defs"])
    return [*_properties(node, schema["$defs"])]


def _on_one_line(schema: Any) -> Any:
    """Return a schema whose descriptions have no line breaks."""
    if isinstance(schema, list):
        return [_on_one_line(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        name: " ".join(each.split()) if name == "description" and isinstance(each, str) else _on_one_line(each)
        for name, each in schema.items()
    }


def _key(name: str, schema: Mapping[str, Any], parent: Mapping[str, Any], definitions: Mapping[str, Any]) -> Key:
    default = schema.get("default")
    text = "" if default is None or default == "" or isinstance(default, dict) else json.dumps(default)
    required = name in _resolved(parent, definitions).get("required", ())
    meaning = schema.get("description") or _resolved(schema, definitions).get("description", "")
    values = dict.fromkeys(_values(schema, definitions))
    return Key(name, " | ".join(values), "required" if required else text, meaning)


def _resolved(schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> Mapping[str, Any]:
    found: Mapping[str, Any] = definitions[schema["$ref"].rpartition("/")[2]] if "$ref" in schema else schema
    return found


def _named(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return the keys of a model, or the kinds of schedules."""
    kinds = schema.get("discriminator", {}).get("mapping", {})
    return {**schema.get("properties", {}), **{name: {"$ref": reference} for name, reference in kinds.items()}}


def _properties(schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is below a key, be it by label, in a list or in a kind of value."""
    schema = _resolved(schema, definitions)
    if named := _named(schema):
        return named
    found: dict[str, Any] = {}
    for each in (*schema.get("anyOf", ()), schema.get("additionalProperties"), schema.get("items")):
        found |= _properties(each, definitions) if isinstance(each, dict) else {}
    return found


def _child(schema: Mapping[str, Any], part: str | int, definitions: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return what is below one part of the location of an error: a key, a label, an index or a kind of schedule."""
    schema = _resolved(schema, definitions)
    inner = _named(schema).get(str(part)) or schema.get("additionalProperties") or schema.get("items")
    if isinstance(inner, dict):
        return inner
    return next(filter(None, (_child(each, part, definitions) for each in schema.get("anyOf", ()))), {})


def _values(schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> Iterator[str]:
    """Yield the kinds of values that a key takes."""
    schema = _resolved(schema, definitions)
    kind = schema.get("type", "")
    if "anyOf" in schema:
        for each in schema["anyOf"]:
            yield from _values(each, definitions)
    elif "enum" in schema or "const" in schema:
        yield from map(str, schema.get("enum") or [schema["const"]])
    elif kind == "array":
        items = [" | ".join(_values(each, definitions)) for each in schema.get("prefixItems") or [schema["items"]]]
        yield f"[{', '.join(items)}{'' if 'prefixItems' in schema else ', ...'}]"
    elif kind == "boolean":
        yield from ("true", "false")
    elif kind == "object" or "oneOf" in schema:
        yield "mapping"
    elif kind != "null":
        bounds = [
            f"{sign} {schema[name]:g}" for name, sign in _BOUNDS.items() if name in schema and abs(schema[name]) < 1e6
        ]
        yield f"{'text' if kind == 'string' else kind or 'any'} {', '.join(bounds)}".rstrip()
