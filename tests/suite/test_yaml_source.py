"""YAML as plain data: the scalars of YAML 1.2, the line of every value, one clear line for every bad file."""

from __future__ import annotations

import math
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchbench.problems import BadInputError
from benchbench.suite.yaml_nodes import DEEPEST, MOST_VALUES
from benchbench.suite.yaml_source import LARGEST_FILE, Document, parse, read


def data(text: str) -> object:
    return parse(text, "file.yaml").data


def problems(text: str) -> list[str]:
    with pytest.raises(BadInputError) as caught:
        parse(text, "file.yaml")
    return [str(problem) for problem in caught.value.problems]


def file_problems(path: Path) -> list[str]:
    with pytest.raises(BadInputError) as caught:
        read(path)
    return [str(problem) for problem in caught.value.problems]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("5e-4", 5e-4),
        ("1e-3", 1e-3),
        ("1E+3", 1000.0),
        ("+.5", 0.5),
        ("12.", 12.0),
        ("-7", -7),
        ("010", 10),
        ("0o10", 8),
        ("0x1F", 31),
        ("1_000", "1_000"),
        ("1:30", "1:30"),
        ("2001-01-01", "2001-01-01"),
        ("no", "no"),
        ("on", "on"),
        ("yes", "yes"),
        ("true", True),
        ("FALSE", False),
        ("null", None),
        ("~", None),
        ("", None),
        ("<<", "<<"),
        ("'5e-4'", "5e-4"),
        ("!!str 5", "5"),
        ("!!float 5", 5.0),
        ("-.INF", -math.inf),
        ("[1, {a: b}]", [1, {"a": "b"}]),
    ],
)
def test_scalars_are_those_of_yaml_1_2(text: str, value: object) -> None:
    found = data(f"key: {text}")
    assert found == {"key": value}
    assert isinstance(found, dict)
    assert type(found["key"]) is type(value)


def test_not_a_number_is_one() -> None:
    found = data("key: .nan")
    assert isinstance(found, dict)
    assert math.isnan(found["key"])


def test_keys_are_texts() -> None:
    assert data("1: a\ntrue: b\n2e3: c\nno: d") == {"1": "a", "true": "b", "2e3": "c", "no": "d"}


def test_every_value_knows_its_line() -> None:
    document = parse("a: 1\nb:\n  c: [x,\n    y]\n  'd':\n    2", "file.yaml")
    paths = [(), ("a",), ("b",), ("b", "c"), ("b", "c", 0), ("b", "c", 1), ("b", "d")]
    assert [document.location(path).line for path in paths] == [1, 1, 2, 3, 3, 4, 5]


def test_a_value_that_is_not_there_stands_where_its_parent_does() -> None:
    location = parse("a:\n  b: 1", "file.yaml").location(("a", "c", "d"))
    assert (location.file, location.line, location.field) == ("file.yaml", 1, "a.c.d")


def test_anchors_and_merges() -> None:
    document = parse("a: &a {x: 1, y: 2}\nb:\n  <<: *a\n  y: 3\nc: {<<: [{y: 4}, *a], z: *a}", "file.yaml")
    assert document.data == {
        "a": {"x": 1, "y": 2},
        "b": {"x": 1, "y": 3},
        "c": {"x": 1, "y": 4, "z": {"x": 1, "y": 2}},
    }
    assert document.location(("b", "x")).line == 1
    assert document.location(("b", "y")).line == 4
    document.data["b"]["x"] = 5
    assert document.data["a"]["x"] == 1


def test_all_duplicate_keys_are_named_with_both_lines() -> None:
    assert problems("a: 1\nb: {c: 1,\n  c: 2}\na: 2\n'a': 3") == [
        "file.yaml:4: a: duplicate key, already set on line 1",
        "file.yaml:5: a: duplicate key, already set on line 1",
        "file.yaml:3: b.c: duplicate key, already set on line 2",
    ]


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("a: 1\nb: [1, 2", 2, "not valid YAML: expected ',' or ']'"),
        ("a: 1\n\tb: 2", 2, "not valid YAML: found character"),
        ("a: b: c", 1, "mapping values are not allowed here"),
        ("a: *b", 1, "undefined alias 'b'"),
        ("a: 1\n---\nb: 1", 2, "expected a single document in the stream, but found another"),
        ("a: 1\nb: \x07", 2, "the character U+0007 is not allowed"),
        ('a: "\\ud800"', 1, "half of a surrogate pair"),
        ("a: !!python/object/apply:os.system [echo]", 1, "a: the tag !!python/object/apply:os.system is not"),
        ("a: !!python/name:os.system", 1, "the tag !!python/name:os.system is not allowed"),
        ("a: !mine {b: 1}", 1, "the tag !mine is not allowed"),
        ("a: !!set {b}", 1, "the tag !!set is not allowed"),
        ("a: !!binary aGk=", 1, "the tag !!binary is not allowed"),
        ("a: !!int x", 1, "this is not of the type !!int"),
        ("? [a]\n: 1", 1, "a key must be a single word or text"),
        ("a: {<<: 1}", 1, "`<<` merges mappings only"),
        ("a: " + "9" * 5000, 1, "a number of more than 100 digits"),
        ("a: &a\n  b: [*a]", 1, "a.b.0: an alias to something that it is a part of"),
        ("a: &a {<<: *a}", 1, "an alias to something that it is a part of"),
        ("[" * 100_000, 1, f"nested deeper than {DEEPEST}"),
        ("- " * 100_000, 1, f"nested deeper than {DEEPEST}"),
        ("a: [" + "1," * MOST_VALUES * 3 + "]", 1, f"more than {MOST_VALUES:,} values"),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_what_is_wrong_is_said_in_one_line(text: str, line: int, words: str) -> None:
    (problem,) = problems(text)
    assert problem.startswith(f"file.yaml:{line}: ")
    assert words in problem
    assert "\n" not in problem


def test_an_escape_beyond_unicode() -> None:
    (problem,) = problems('a: "\\UFFFFFFFF"')
    assert problem.startswith("file.yaml: not valid YAML: ")


@pytest.mark.parametrize("bomb", ["[{}]", "{{<<: [{}]}}"])
def test_alias_bombs_are_refused(bomb: str) -> None:
    lines = ["a0: &a0 {x: 1}"]
    lines += [f"a{n}: &a{n} " + bomb.format(", ".join([f"*a{n - 1}"] * 9)) for n in range(1, 20)]
    (problem,) = problems("\n".join(lines))
    assert f"more than {MOST_VALUES:,} values" in problem


def test_depth_is_counted_through_aliases() -> None:
    lines = [f"a{n}: &a{n} " + ("[" * 15 + (f"*a{n - 1}" if n else "1") + "]" * 15) for n in range(4)]
    (problem,) = problems("\n".join(lines))
    assert problem.endswith(f"nested deeper than {DEEPEST}")


def test_a_file_with_bom_windows_lines_and_unicode_names(tmp_path: Path) -> None:
    path = tmp_path / "süß 数.yaml"
    path.write_bytes("\ufeffα: 1\r\nβ:\r\n  γδ: 数字\r\n".encode())
    document = read(path)
    assert document.data == {"α": 1, "β": {"γδ": "数字"}}
    assert document.location(("β", "γδ")).line == 3


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "PATH: the file is empty"),
        (b"# nothing\n", "PATH: the file is empty"),
        (b"a: 1\n- b", "PATH:2: not valid YAML: "),
        (b"\n- a", "PATH:2: the top level must be a mapping of keys to values"),
        (b"text", "PATH:1: the top level must be a mapping of keys to values"),
        (b"a: 1\nb: x\xff", "PATH:2: not UTF-8: byte 0xff at byte 5 of the line"),
        ("a: 1".encode("utf-16"), "PATH:1: not UTF-8: byte 0xff at byte 1 of the line"),
        (b"#" * (LARGEST_FILE + 1), "PATH: larger than 1,048,576 bytes"),
    ],
    ids=lambda value: value[:20].decode("latin-1") if isinstance(value, bytes) else "",
)
def test_files_that_are_no_suite(tmp_path: Path, content: bytes, problem: str) -> None:
    path = tmp_path / "suite.yaml"
    path.write_bytes(content)
    (found,) = file_problems(path)
    assert found.startswith(problem.replace("PATH", str(path)))


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    assert file_problems(tmp_path / "no.yaml") == [f"{tmp_path}/no.yaml: cannot be read: No such file or directory"]
    assert file_problems(tmp_path) == [f"{tmp_path}: cannot be read: Is a directory"]
    assert "cannot be read" in file_problems(tmp_path / "a\0b.yaml")[0]
    assert "cannot be read" in file_problems(tmp_path / ("x" * 5000))[0]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission(tmp_path: Path) -> None:
    path = tmp_path / "suite.yaml"
    path.touch(mode=0o000)
    assert file_problems(path) == [f"{path}: cannot be read: Permission denied"]


def test_the_value_of_an_option_has_no_lines() -> None:
    document = parse("{a: 1}", "--set", lines=False)
    assert document.location(("a",)).line is None
    with pytest.raises(BadInputError, match=r"^--set: a: duplicate key$"):
        parse("{a: 1, a: 2}", "--set", lines=False)


@given(st.text(alphabet=st.sampled_from("ab01.:-,[]{}&*<!?#|>'\"%\\\n\t é\ufeff\u2028")))
def test_any_text_gives_data_or_problems(text: str) -> None:
    try:
        assert isinstance(parse(text, "file.yaml"), Document)
    except BadInputError as error:
        assert all(len(str(problem).splitlines()) == 1 for problem in error.problems)
