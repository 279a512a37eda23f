import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from digitcam.core.card import Card, GridHead, Input, Licence, SlotsHead, Training, decode_card, encode_card
from digitcam.core.errors import ModelError
from digitcam.core.metrics import Coverage


def card(**changes: Any) -> Card:
    fields: dict[str, Any] = {
        "name": "toy",
        "input": Input(height=128, width=256),
        "head": GridHead(stride=8),
        "training": Training("toy", "glyphs", 1000, "abc"),
        "licence": Licence("none", "Apache-2.0"),
        "parameters": 10,
        "macs": 100,
    }
    return Card(**{**fields, **changes})


def changed(**changes: Any) -> bytes:
    return json.dumps({**json.loads(encode_card(card())), **changes}).encode()


def test_output_shapes_by_hand() -> None:
    assert card().output_shapes() == {"logits": (1, 16, 32, 11), "boxes": (1, 16, 32, 4)}
    assert card(head=SlotsHead(positions=5)).output_shapes() == {"logits": (1, 5, 11), "boxes": (1, 4)}


@given(
    st.text(max_size=20),
    st.integers(8, 512),
    st.sampled_from([1, 3]),
    st.one_of(st.builds(GridHead, stride=st.integers(1, 32)), st.builds(SlotsHead, positions=st.integers(1, 9))),
    st.dictionaries(st.sampled_from(["model.int8.onnx", "golden.npz"]), st.from_regex(r"\A[0-9a-f]{64}\Z")),
)
def test_round_trip(name: str, side: int, channels: Any, head: Any, files: dict[str, str]) -> None:
    before = card(name=name, input=Input(height=side, width=2 * side, channels=channels), head=head, files=files)
    assert decode_card(encode_card(before), "card.json") == before


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "not a model card"),
        (b"[]", "not a model card"),
        (b'{"schema": 1}', "name"),
        (changed(colour="red"), "colour"),
        (changed(schema=2), "field 'schema' is 2.*install a newer digitcam"),
        (changed(schema=0), "field 'schema' is 0.*export the model again"),
        (changed(input={"height": 0, "width": 256}), r"input\.height"),
        (changed(input={"height": 128, "width": 256, "resize": "crop"}), r"input\.resize"),
        (changed(head={"kind": "pile"}), "head"),
        (changed(head={"kind": "grid", "stride": 8, "positions": 5}), "positions"),
        (changed(thresholds={"accept": 1.5}), r"thresholds\.accept"),
        (changed(coverage={"int8.onnx": [{"accuracy": 0.98, "share": 1.0}]}), r"threshold.*coverage"),
        (changed(files={"model.int8.onnx": "12"}), "files"),
    ],
)
def test_a_bad_card_names_file_and_field(data: bytes, words: str) -> None:
    with pytest.raises(ModelError, match=words) as caught:
        decode_card(data, "here/card.json")
    assert str(caught.value).startswith("here/card.json: ")
    assert "\n" not in str(caught.value)


def test_coverage_by_format_may_be_there_or_not() -> None:
    table = {"int8.onnx": [Coverage(0.98, 0.75, 0.9), Coverage(0.99, None, 0.0)]}
    assert decode_card(encode_card(card(coverage=table)), "card.json").coverage == table
    old = json.loads(encode_card(card()))
    del old["coverage"]
    assert decode_card(json.dumps(old).encode(), "card.json") == card()


def test_cards_do_not_change() -> None:
    with pytest.raises(AttributeError):
        card().name = "other"  # type: ignore[misc]
    assert msgspec.structs.replace(card(), name="other").name == "other"
