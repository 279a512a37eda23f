import msgspec
import pytest

from digitcam.core.strict_json import decode_json


class Note(msgspec.Struct):
    text: str


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b'{"text": "caf\xe9"}', "byte 0xe9 is not UTF-8"),
        (b'{"more": ' + 5000 * b"[" + 5000 * b"]" + b"}", "nested too deeply"),
        (b"", "Input data was truncated"),
        (b"[]", "Expected `object`, got `array`"),
    ],
)
def test_all_that_is_wrong_is_one_kind_of_error(data: bytes, said: str) -> None:
    with pytest.raises(msgspec.DecodeError) as caught:
        decode_json(data, Note)
    assert str(caught.value) == said


def test_what_fits_is_read() -> None:
    assert decode_json(b'{"text": "42"}', Note) == Note("42")
