"""Parts of a frame that each show one number: the tables [[regions]]."""

from __future__ import annotations

from typing import Annotated

import msgspec

from digitcam.edge.config.quantity import Quantity
from digitcam.edge.config.rules import Rules

Name = Annotated[str, msgspec.Meta(pattern="^[a-z0-9][a-z0-9_-]*$", max_length=40)]
Coordinate = Annotated[float, msgspec.Meta(ge=-1e5, le=1e5)]
Point = tuple[Coordinate, Coordinate]


class Region(Quantity, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A part of the frame, read on its own.

    name
        Lower-case letters, digits, _ and -: it stands in readings and topics.
    box
        x, y, width, height: in pixels of the frame, or, when none of them is above 1, in shares of it.
    turn
        Degrees that the number is turned clockwise; the box is then turned so too, about its centre.
    quad
        In place of `box`, what a slanting view makes of it: its corners [x, y] as the number is read, top left, top
        right, bottom right, bottom left, in pixels or shares.
    rules
        Of this number; None for those of the whole run.
    unit, device_class, state_class
        Of this number; None for those of [mqtt].
    """

    name: Name
    box: tuple[Coordinate, Coordinate, Coordinate, Coordinate] | None = None
    turn: Annotated[float, msgspec.Meta(ge=-360, le=360)] = 0.0
    quad: tuple[Point, Point, Point, Point] | None = None
    rules: Rules | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if (self.box is None) == (self.quad is None):
            raise ValueError(f"region {self.name}: give it either box or quad")
        if self.quad is not None and self.turn:
            raise ValueError(f"region {self.name}: turn goes with box: write the turned corners into quad")
        if self.box is not None and (min(self.box[:2]) < 0 or min(self.box[2:]) <= 0):
            raise ValueError(f"region {self.name}: box is x, y, width, height, and none of them below 0")
        if self.box is not None and max(self.box) <= 1 and not self.turn % 360:
            x, y, width, height = self.box
            if max(x + width, y + height) > 1.001:
                raise ValueError(f"region {self.name}: box reaches out of the frame: x + width and y + height end at 1")
        if self.quad is not None and not _convex(self.quad):
            raise ValueError(
                f"region {self.name}: quad is top left, top right, bottom right, bottom left, without dents"
            )

    @property
    def in_pixels(self) -> bool:
        """Whether it is given in pixels, and not in shares of the frame."""
        return max(self.box or (number for corner in self.quad or () for number in corner)) > 1


def _convex(quad: tuple[Point, ...]) -> bool:
    """Say whether corners go round clockwise (y points down) and turn the same way at each."""
    for (ax, ay), (bx, by), (cx, cy) in zip(quad, quad[1:] + quad[:1], quad[2:] + quad[:2], strict=True):
        if (bx - ax) * (cy - by) - (by - ay) * (cx - bx) <= 0:
            return False
    return True
