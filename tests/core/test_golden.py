import io
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from digitcam.core.bundle import GOLDEN, open_bundle
from digitcam.core.errors import ModelError
from digitcam.core.golden import read_golden

WHERE = "meter: golden.npz"


def packed(**arrays: Any) -> bytes:
    out = io.BytesIO()
    np.savez(out, **arrays)
    return out.getvalue()


def refusal(data: bytes) -> str:
    bundle = open_bundle("canvas")
    with pytest.raises(ModelError) as caught:
        read_golden(data, bundle.card, bundle.formats, WHERE)
    return str(caught.value)


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"", "EOFError"),  # which click takes for Ctrl-C
        (b"hello", "ValueError"),
        (packed(images=np.zeros(3))[:200], "BadZipFile"),
        (packed(images=np.array([{}], object)), "ValueError"),
    ],
)
def test_what_is_no_archive_of_arrays_is_refused(data: bytes, kind: str) -> None:
    assert refusal(data) == f"{WHERE}: not golden inputs ({kind}): copy the bundle again, or export it again"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda a: a.pop("numbers"), "'numbers' holds none"),
        (lambda a: a.update(numbers=a["numbers"][:0]), "'numbers' holds none"),
        (lambda a: a.pop("images"), "'images' is missing, by the card uint8 [5, 128, 256, 1]"),
        (
            lambda a: a.update(images=a["images"][:, :64]),
            "'images' is uint8 [5, 64, 256, 1], by the card uint8 [5, 128, 256, 1]",
        ),
        (
            lambda a: a.pop("int8.tflite/logits"),
            "'int8.tflite/logits' is missing, by the card float32 [5, 16, 32, 11]",
        ),
        (
            lambda a: a.update({"fp32.onnx/boxes": a["fp32.onnx/boxes"].astype(float)}),
            "'fp32.onnx/boxes' is float64 [5, 16, 32, 4], by the card float32 [5, 16, 32, 4]",
        ),
    ],
)
def test_what_does_not_fit_the_card_is_refused(change: Callable[[dict[str, Any]], object], said: str) -> None:
    with np.load(io.BytesIO(open_bundle("canvas").read(GOLDEN))) as file:
        arrays = dict(file)
    change(arrays)
    assert refusal(packed(**arrays)) == f"{WHERE}: {said}: export the model again"
