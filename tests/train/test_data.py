import pytest

from digitcam.core.errors import ConfigError
from digitcam.train.data import samples, size_of


def test_more_images_than_there_are() -> None:
    assert size_of("glyphs-variable", "validation", 15_000) == size_of("glyphs-variable", "validation") == 15_000
    for ask in (size_of, samples):
        with pytest.raises(ConfigError) as caught:
            ask("glyphs-variable", "validation", 15_001)  # at once, not when the first is drawn
        assert (
            str(caught.value)
            == "data set glyphs-variable: has 15000 validation images, not 15001: give a smaller --count or --images"
        )
