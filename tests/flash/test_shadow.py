"""What two bundles read in the same frames, compared: figures by hand."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from digitcam.core.errors import SourceError
from digitcam.flash.shadow import Comparison, Limits, Seen, compare


def seen(seq: int, number: str, accepted: bool = True, total_ms: float = 12.0, region: str = "") -> Seen:
    return Seen(seq, number, accepted, {"capture": 2.0, "total": total_ms}, region)


def test_figures_by_hand() -> None:
    old = [seen(0, "11"), seen(0, "99"), seen(1, "12"), seen(2, "13"), seen(3, "", False), seen(9, "1")]
    new = [seen(0, "11", total_ms=22), seen(1, "18", total_ms=22), seen(2, "", False, 32), seen(3, "14", total_ms=7)]
    # Frame 9 was read by one alone; of frame 0 the second best does not count.
    found = compare(old, new)
    assert found == Comparison(views=4, both=2, same=1, rejected=(1, 1), latency_ms=(10.0, 20.0))
    assert found.worse(Limits()) == ["they agree in 50.0%, at least 98.0% are asked", "it takes 2.0 times as long"]
    assert found.worse(Limits(agreement=0.5, slower=2)) == []


def test_regions_of_a_frame_are_views_of_their_own() -> None:
    old = [seen(0, "1", region="gas"), seen(0, "2", region="water")]
    assert compare(old, old[::-1]) == Comparison(2, 2, 2, (0, 0), (10.0, 10.0))


def test_one_that_rejects_more_is_worse_and_one_that_reads_where_nothing_was_read_is_not() -> None:
    frames = range(50)
    reads, rejects = [seen(n, "1") for n in frames], [seen(n, "", False) for n in frames]
    assert compare(reads, [*reads[:49], rejects[49]]).worse(Limits()) == []
    assert compare(reads, [*reads[:48], *rejects[48:]]).worse(Limits()) == ["it rejects 2 views more"]
    assert compare(rejects, reads).worse(Limits()) == []
    assert compare(rejects, rejects).worse(Limits()) == ["neither accepts a number, so nothing can be compared"]
    with pytest.raises(SourceError, match="no frame was read by both"):
        compare(reads[:1], reads[1:])


@given(st.lists(st.tuples(st.sampled_from("123"), st.booleans()), min_size=1))
def test_a_bundle_is_not_worse_than_itself(readings: list[tuple[str, bool]]) -> None:
    found = [seen(seq, number, accepted) for seq, (number, accepted) in enumerate(readings)]
    compared = compare(found, found)
    assert compared.both == compared.same == len(found) - compared.rejected[0]
    assert compared.worse(Limits()) == [] or not compared.both
