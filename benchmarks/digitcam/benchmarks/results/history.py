"""A line of `history.jsonl`: one measured thing at one commit."""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

Kind: TypeAlias = Literal["accuracy", "latency", "overhead", "peers", "seed"]


class Entry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What was measured at a commit.

    commit, date
        Of the source that made the result (of results from before they told it, of the working tree in which the line
        was written), and the day on which the line was written.
    bundle, format, data
        What was measured and on what; of peers and of the seed's runs `bundle` is their name, and `format` their
        setting.
    value
        A share 0..1 of right readings; of latency, how many times faster than the reference in the same run; of
        overhead, the share of the network's own rate that a run keeps.
    interval, images
        95 % interval of a share of right readings (Wilson), and how many there were; None of what is no such share.
    environment
        The machine in short.
    fingerprint
        Of the images, see `images`; None where it is not known.
    """

    commit: str
    date: str
    kind: Kind
    bundle: str
    format: str
    data: str
    value: float
    interval: tuple[float, float] | None
    images: int | None
    environment: str
    fingerprint: str | None = None
