from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from digitcam.core.errors import ConfigError
from digitcam.core.toml import explain, line_of
from digitcam.edge.config import RunConfig, load_config

TEXT = """\
# window = 1
source = "demo:"   # source = 2
rules = { window = 5, needed = 3 }

[[regions]]
name = "one"
[regions.rules]
window = 7
# needed = 9
needed = 8

[[ regions ]]  # the second
name = "two"
box = [
  0, 0,
  1, 1,
]
rules.window = 9
rules . needed = 10

  [mqtt]
  "host" = "b=c"
"""


@pytest.mark.parametrize(
    ("path", "line"),
    [
        (("source",), 2),
        (("rules",), 3),
        # What stands in an inline table is on its line.
        (("rules", "needed"), 3),
        (("regions", 0), 5),
        (("regions", 0, "name"), 6),
        (("regions", 0, "rules"), 7),
        (("regions", 0, "rules", "window"), 8),
        (("regions", 0, "rules", "needed"), 10),
        # A key that is not there: the table where it should be.
        (("regions", 0, "box"), 5),
        (("regions", 0, "rules", "digits"), 7),
        (("regions", 1), 12),
        (("regions", 1, "box"), 14),
        (("regions", 1, "box", 3), 14),
        (("regions", 1, "rules", "window"), 18),
        (("regions", 1, "rules", "needed"), 19),
        (("mqtt",), 21),
        (("mqtt", "host"), 22),
        (("mqtt", "port"), 21),
        (("web",), None),
        (("threads",), None),
        ((), None),
    ],
)
def test_lines_by_hand(path: tuple[str | int, ...], line: int | None) -> None:
    assert line_of(TEXT, path) == line


def test_an_empty_file_has_no_lines() -> None:
    assert line_of("", ("source",)) is None


def test_what_looks_like_a_key_in_a_text_of_several_lines_is_none() -> None:
    text = "source = '''\nthreads = 1\n[mqtt]\n'''\nthreads = 2\n"
    assert line_of(text, ("threads",)) == 5


class Inner(msgspec.Struct, forbid_unknown_fields=True):
    window: int = 1
    host: str = ""

    def __post_init__(self) -> None:
        if self.window == 13:
            raise ValueError("window is 13: choose another")
        if self.window == 14:
            raise ValueError("an inner of 14 is not made")


class Outer(msgspec.Struct, forbid_unknown_fields=True):
    source: str
    inner: Inner | None = None
    inners: tuple[Inner, ...] = ()


@pytest.mark.parametrize(
    ("tree", "said"),
    [
        ({"source": 3}, "source: expected text in quotes, got a whole number"),
        ({}, "source is missing"),
        ({"source": "", "sourec": 1}, "sourec is not known: did you mean source?"),
        ({"source": "", "zz": 1}, "zz is not known: use source, inner, inners"),
        ({"source": "", "inner": {"widnow": 1}}, "inner.widnow is not known: did you mean window?"),
        ({"source": "", "inner": {"zz": 1}}, "inner.zz is not known: use window, host"),
        # A name of the table above is no help here.
        ({"source": "", "inner": {"sourec": 1}}, "inner.sourec is not known: use window, host"),
        ({"source": "", "inner": {"window": 13}}, "inner.window is 13: choose another"),
        ({"source": "", "inner": {"window": 14}}, "inner: an inner of 14 is not made"),
        ({"source": "", "inner": {"window": "x"}}, "inner.window: expected a whole number, got text in quotes"),
        ({"source": "", "inners": [{}, {"hots": ""}]}, "inners[1].hots is not known: did you mean host?"),
        ({"source": "", "inners": [{}, {"host": 4}]}, "inners[1].host: expected text in quotes, got a whole number"),
    ],
)
def test_errors_are_told_in_words(tree: dict[str, object], said: str) -> None:
    with pytest.raises(msgspec.ValidationError) as caught:
        msgspec.convert(tree, Outer)
    assert explain(str(caught.value), "", Outer, tree) == (None, said)


class Round(msgspec.Struct, forbid_unknown_fields=True, tag="round", tag_field="kind"):
    radius: float


class Square(msgspec.Struct, forbid_unknown_fields=True, tag="square", tag_field="kind"):
    side: int | None = None


class Holder(msgspec.Struct):
    shape: Round | Square | None = None


@pytest.mark.parametrize(
    ("tree", "said"),
    [
        # The keys of the kind that is named, not of the first.
        ({"shape": {"kind": "square", "zz": 1}}, "shape.zz is not known: use side, kind"),
        ({"shape": {"kind": "round", "radus": 1}}, "shape.radus is not known: did you mean radius?"),
        ({"shape": {"kind": "square", "side": 1.5}}, "shape.side: expected a whole number, got a number"),
        ({"shape": 3}, "shape: expected a table, got a whole number"),
    ],
)
def test_of_several_kinds_the_one_that_is_named_is_explained(tree: dict[str, object], said: str) -> None:
    with pytest.raises(msgspec.ValidationError) as caught:
        msgspec.convert(tree, Holder)
    assert explain(str(caught.value), "", Holder, tree) == (None, said)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("threads = 1\nsauce = 'demo:'", "line 2: sauce is not known: did you mean source?"),
        ("[mqtt]\nport = 1", "line 1: mqtt.host is missing"),
        ("[rules]\n# widnow = 3\nwidnow = 3", "line 3: rules.widnow is not known: did you mean window?"),
        ("rules = {\twindow = 0 }", "line 1: rules.window: expected a whole number >= 1"),
        ("'threads' = 'x'", "line 1: threads: expected a whole number, got text in quotes"),
        ("rules.needed = 1", "line 1: rules.needed is 1: make it more than half of window (5), at most all"),
        ("[rules]\nwindow = 20", "line 1: rules.needed is 3: make it more than half of window (20), at most all"),
    ],
)
def test_a_file_an_error_and_its_line(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "run.toml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    assert str(caught.value) == f"{path}, {said}"


def test_without_a_file_the_options_are_named() -> None:
    with pytest.raises(ConfigError, match=r"^options: threads: expected a whole number >= 1$"):
        load_config(None, threads=0)


def test_every_default_is_known() -> None:
    assert explain("Object contains unknown field `modle`", "", RunConfig, {})[1].endswith("did you mean model?")
