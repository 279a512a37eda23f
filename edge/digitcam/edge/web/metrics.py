"""How a run goes as Prometheus reads it: its text format, version 0.0.4."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.metadata import version

from digitcam.edge.health import Report
from digitcam.edge.outcome import Outcome

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_ESCAPES = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})

Samples = Sequence[tuple[Mapping[str, str], float]]


def metrics(report: Report, outcomes: Sequence[Outcome]) -> str:
    """Return the text; what is not known yet is left out."""
    camera, named = report.source, [({"region": outcome.region}, outcome) for outcome in outcomes]
    families = [
        _family("build_info", "gauge", "Which digitcam this is", [({"version": version("digitcam")}, 1)]),
        _one("start_time_seconds", "gauge", "When the run began, since 1970", report.started.timestamp()),
        _one("frames_total", "counter", "Frames read", report.frames),
        _one("readings_accepted_total", "counter", "Readings that counted", report.accepted),
        _family(
            "readings_rejected_total",
            "counter",
            "Readings that did not count, by reason",
            [({"reason": reason}, count) for reason, count in sorted(report.rejected.items())],
        ),
        _one("frames_per_second", "gauge", "Frames read a second, over the last ones", report.frames_per_second),
        _one("frame_age_seconds", "gauge", "Since the last frame", report.since_frame_s),
        _one("resident_memory_bytes", "gauge", "Memory the process holds", round(report.memory_mb * 1e6)),
        _family(
            "number",
            "gauge",
            "The number that stands",
            [(labels, float(outcome.number)) for labels, outcome in named if outcome.number],
        ),
        _family(
            "confidence",
            "gauge",
            "Confidence of the last reading, 0 to 1",
            [(labels, outcome.best.confidence) for labels, outcome in named],
        ),
        _family(
            "held",
            "gauge",
            "1 while the number was not read for long",
            [({"region": region}, held) for region, held in report.held.items()],
        ),
    ]
    if camera:
        families += [
            _one("camera_live", "gauge", "1 while the camera gives frames", camera.state == "live"),
            _one("camera_frames_total", "counter", "Frames that came from the camera", camera.frames),
            _one("camera_dropped_total", "counter", "Frames that newer ones replaced unread", camera.dropped),
            _one("camera_reopened_total", "counter", "How often frames came again after it was lost", camera.reopened),
        ]
    return "".join(families)


def _one(name: str, kind: str, text: str, value: float | None) -> str:
    return _family(name, kind, text, [] if value is None else [({}, value)])


def _family(name: str, kind: str, text: str, samples: Samples) -> str:
    """Return a family's lines, none when it has no samples."""
    if not samples:
        return ""
    lines = [f"# HELP digitcam_{name} {text}.", f"# TYPE digitcam_{name} {kind}"]
    for labels, value in samples:
        written = ",".join(f'{key}="{text.translate(_ESCAPES)}"' for key, text in labels.items())
        lines.append(f"digitcam_{name}{'{' + written + '}' if written else ''} {float(value)!r}")
    return "\n".join(lines) + "\n"
