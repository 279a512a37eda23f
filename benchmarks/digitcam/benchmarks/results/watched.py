"""Whether a measurement is a result at all, and what one of time tells of the board."""

from __future__ import annotations

import msgspec


class Conditions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the board told while it was measured, looked at between the blocks. None where it tells nothing.

    seconds, samples
        How long the measurement took, and how often clock and heat were looked at.
    clock_mhz
        The lowest and the highest that were seen.
    temperature_c
        The first and the highest.
    throttled, throttled_before
        What slowed it down during the run, and what did since the board started and before the run.
    others, stolen
        Shares of the processors' time that went to other processes, and to the host of a virtual machine.
    clock_listed_mhz
        The highest that the kernel lists.
    others_most, stolen_most
        Those shares in the worst stretch of `watch.STRETCH_S`.
    """

    seconds: float
    samples: int
    governors: list[str]
    clock_mhz: tuple[float, float] | None
    temperature_c: tuple[float, float] | None
    throttled: list[str] | None
    throttled_before: list[str] | None
    others: float | None
    stolen: float | None
    clock_listed_mhz: float | None = None
    others_most: float | None = None
    stolen_most: float | None = None


class Judged(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A measurement that was judged; what is None in a result is from before it was.

    valid, reasons
        Whether it is a result, and why not. `read_result` refuses one that is not.
    """

    valid: bool | None = None
    reasons: list[str] | None = None

    @property
    def holds(self) -> bool:
        """Whether it calls itself a result; those from before it was told do."""
        return self.valid is not False


class Watched(Judged, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A measurement during which the board was watched."""

    conditions: Conditions | None = None
