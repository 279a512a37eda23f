"""What makes a number trusted: the table [rules]."""

from __future__ import annotations

import re
from typing import Annotated, Literal

import msgspec

from digitcam.edge.config.types import Amount, Positive, Seconds, Share, Text

Digits = Annotated[int, msgspec.Meta(ge=1, le=20)]
Decimals = Annotated[int, msgspec.Meta(ge=0, le=19)]


class Rules(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    r"""From what frames read to a number that is trusted; see `edge.trust`.

    window, needed
        A digit stands when `needed` of the last `window` frames read it so. Where pictures are taken so seldom that
        each shows another number, 1 and 1.
    digits
        How many the number has; None for any.
    decimals
        How many of them stand behind the decimal point: the network reads digits only.
    pattern
        A regular expression that the number fits from end to end, with its point: `'\d{5}\.\d'`. None for any.
    leading_zeros
        keep or strip, in the number published.
    rising
        Whether it is a counter: only rises, until it is replaced or starts anew from 0.
    wheels
        Whether the counter is mechanical, so that wheels may stand between two digits; needs rising.
    sure
        Confidence 0..1 from which a wheel is taken to stand still.
    per_minute
        The largest change in a minute, in the number's own unit; None for any.
    takeover_s
        Seconds after which a number that is not plausible, but stays, takes over.
    held_after_s
        Seconds without being read after which the trusted number is told to be held; where none stands yet, seconds
        of the run without an accepted reading.
    """

    window: Positive = 5
    needed: Positive = 3
    digits: Digits | None = None
    decimals: Decimals = 0
    pattern: Text | None = None
    leading_zeros: Literal["keep", "strip"] = "keep"
    rising: bool = False
    wheels: bool = False
    sure: Share = 0.9
    per_minute: Amount | None = None
    takeover_s: Seconds = 600.0
    held_after_s: Seconds = 300.0

    def __post_init__(self) -> None:
        # With half of the window or less, two numbers could both be the trusted one.
        if not self.needed <= self.window < 2 * self.needed:
            raise ValueError(f"needed is {self.needed}: make it more than half of window ({self.window}), at most all")
        if self.digits and self.digits <= self.decimals:
            raise ValueError(f"decimals is {self.decimals}: leave a digit before the point (digits is {self.digits})")
        if self.wheels and not self.rising:
            raise ValueError("wheels needs rising = true")
        if self.pattern is not None and not _possible(self.pattern, self.digits, self.decimals):
            of = f" of {self.digits} digits" if self.digits else ""
            raise ValueError(f"pattern is {self.pattern!r}: no number{of} with decimals = {self.decimals} fits it")


def _possible(pattern: str, digits: int | None, decimals: int) -> bool:
    """Return whether some number fits a pattern; ValueError when it is no regular expression."""
    try:
        given = re.compile(pattern)
        # Whichever digits it asks for, of this a number of zeros is an example.
        shape = re.compile(re.sub(r"(\{[\d,]+\})|\\d|\[[^]]*\]|\d", lambda found: found[1] or "0", pattern))
    except (re.error, OverflowError) as error:
        raise ValueError(f"pattern is {pattern!r}: not a regular expression: {error}") from None
    for length in [digits] if digits else range(decimals + 1, 21):
        for digit in "01":
            number = digit * (length - decimals) + ("." + digit * decimals if decimals else "")
            if given.fullmatch(number) or shape.fullmatch(number):
                return True
    return False
