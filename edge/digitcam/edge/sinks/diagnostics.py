"""How the reading goes, in a few numbers that are published now and then and not with every frame."""

from __future__ import annotations

from typing import Any

from digitcam.edge.health import Report


def diagnostics(report: Report, dropped: int) -> dict[str, Any]:
    """Return what is published of a run; `dropped` is how many messages were lost while the broker was away.

    `held` has an entry for each region, of the empty name for the whole frame. `camera` and what follows is null where
    the frames come from files.
    """
    source = report.source
    return {
        "confidence": report.confidence,
        "last_accepted": report.last_accepted,
        "frames_per_second": report.frames_per_second,
        "rejected": sum(report.rejected.values()),
        "dropped": dropped,
        "held": report.held,
        "refused": report.refused,
        "camera": source and source.state,
        "camera_problem": source and source.problem,
        "frames_dropped": source and source.dropped,
        "reopened": source and source.reopened,
    }
