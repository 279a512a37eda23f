"""A new bundle in the shadow of the one that runs: both read the same live frames, and only then it is switched.

A camera has one reader. So the service pauses for some seconds, in which the slot that runs records frames; it goes on,
and both bundles read the recording on the device, one after the other, with the engine and the Python they run with.
"""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from digitcam.core.bundle import open_bundle
from digitcam.core.errors import ConfigError, GateError, ModelError, SourceError
from digitcam.core.packing import unpack
from digitcam.flash.flash import deliver, encode, switch
from digitcam.flash.payload import PAYLOAD, Payload, payload_id
from digitcam.flash.prepare import payload_cache
from digitcam.flash.remote import Json, Remote, sha256_of
from digitcam.flash.wish import Wish, check_bundle

RECORD_S, REPLAY_S, LATE = 120, 600, 124
"""How long recording and reading may take, and what `timeout` exits with after that."""
READ_KEYS = ("source", "format", "threads", "accept", "regions")
"""What of a configuration decides how a frame is read; nothing is published meanwhile."""

# The service starts again whatever happens to the recording; while it lasts, no installer works.
_RECORD = """
set -u
trap '' HUP PIPE
scratch=$1/shadow; slot=$1/slots/$2
rm -rf "$scratch"; mkdir -m 700 "$scratch" && cat > "$scratch/shadow.toml" || exit 5
trap 'systemctl start --no-block digitcam.service' EXIT
systemctl stop digitcam.service || exit 2
timeout "$4" "$slot/venv/bin/digitcam" run --config "$scratch/shadow.toml" --model "$slot/model" --frames "$3" \
  --record "$scratch/frames.tar" > /dev/null
"""
_REPLAY = """
scratch=$1/shadow; slot=$1/slots/$2
exec timeout "$3" nice "$slot/venv/bin/digitcam" run --config "$scratch/shadow.toml" --model "$slot/model" \
  --source "replay:$scratch/frames.tar"
"""


class Limits(NamedTuple):
    """What is no worse.

    agreement
        The least share, 0..1, of the frames that both accept in which both read the same number.
    rejected
        The largest share, 0..1, of the frames by which it may reject more.
    slower
        How many times as long the network may take, by the medians.
    """

    agreement: float = 0.98
    rejected: float = 0.02
    slower: float = 1.5


class Seen(msgspec.Struct, frozen=True):
    """What is compared of a reading, by whichever version it was written."""

    seq: int
    number: str
    accepted: bool
    latency_ms: dict[str, float]
    region: str = ""


class Comparison(NamedTuple):
    """Two bundles on the same frames; of a pair the first is that of the old one.

    views
        Frames, or regions of them, that both have read.
    both, same
        Of them those that both accept, and those of these with the same number.
    rejected, latency_ms
        How many each does not accept; the median time each takes for a view without waiting for the camera.
    """

    views: int
    both: int
    same: int
    rejected: tuple[int, int]
    latency_ms: tuple[float, float]

    @property
    def line(self) -> str:
        """The figures in a line."""
        return (
            f"{self.views} views: the same number in {self.same} of {self.both} that both accept; "
            f"rejected {self.rejected[0]} before, {self.rejected[1]} now; "
            f"{self.latency_ms[0]:.1f} ms before, {self.latency_ms[1]:.1f} ms now"
        )

    def worse(self, limits: Limits) -> list[str]:
        """Return in what the new bundle is worse; nothing when it is not."""
        found = []
        if self.views == self.rejected[0] == self.rejected[1]:
            found.append("neither accepts a number, so nothing can be compared")
        if self.same < limits.agreement * self.both:
            found.append(f"they agree in {self.same / self.both:.1%}, at least {limits.agreement:.1%} are asked")
        if self.rejected[1] - self.rejected[0] > limits.rejected * self.views:
            found.append(f"it rejects {self.rejected[1] - self.rejected[0]} views more")
        if self.latency_ms[1] > limits.slower * self.latency_ms[0]:
            found.append(f"it takes {self.latency_ms[1] / self.latency_ms[0]:.1f} times as long")
        return found


def compare(old: Iterable[Seen], new: Iterable[Seen]) -> Comparison:
    """Compare what two bundles read in the same frames; of a view's readings the first, its best, counts.

    Raises
    ------
    SourceError
        When they have no view in common.
    """
    before, after = _best(old), _best(new)
    pairs = [(before[key], after[key]) for key in before if key in after]
    if not pairs:
        raise SourceError("no frame was read by both bundles: see whether the camera gives any")
    both = [(one, two) for one, two in pairs if one.accepted and two.accepted]
    first, second = zip(*pairs, strict=True)
    return Comparison(
        len(pairs),
        len(both),
        sum(one.number == two.number for one, two in both),
        (_rejected(first), _rejected(second)),
        (_median_ms(first), _median_ms(second)),
    )


def flash_model(remote: Remote, wish: Wish, frames: int, limits: Limits, dry_run: bool = False) -> Json:
    """Give a device another bundle, and nothing else, when it is not worse than the one that runs.

    Raises
    ------
    GateError
        When it is worse: with the figures; the old one runs on.
    DigitcamError
        As `flash.flash`.
    """
    if not wish.model:
        raise ConfigError("--model-only needs --model BUNDLE")
    check_bundle(wish.model, None, wish.signers)
    facts = remote.do("facts")
    trial = facts["trial"] or {}
    current = trial.get("before", facts["current"])
    if current is None or current not in facts["slots"]:
        raise ConfigError(f"{remote.ssh.host}: there is no bundle to compare with: flash it without --model-only")
    with tempfile.TemporaryDirectory(prefix="digitcam-") as scratch:
        text, config = _reading_config(remote, current, Path(scratch))
        check_bundle(wish.model, config, wish.signers)
        payload = _changed(remote, current, wish.model, Path(scratch))
        if payload.id == trial.get("slot"):
            return switch(remote, payload.id, wish.trial)
        if trial:
            raise ConfigError(f"{remote.ssh.host}: {trial['slot']} is on trial: repeat the command that began it")
        if payload.id == current:
            remote.note(f"{wish.model} runs already")
            return {"slot": current, "confirmed": True}
        told = remote.do("missing", stdin=encode(payload))
        if dry_run:
            remote.note(f"would send {len(told['missing'])} files, install {payload.id}, and compare it with {current}")
            return {"slot": payload.id, "dry_run": True}
        if not told["ready"]:
            _complete(Path(scratch), payload, told["missing"])
            deliver(remote, payload, Path(scratch), told["missing"])
            remote.note(f"installing {payload.id}: {payload.model}, with the runner of {current}")
            remote.do("install", stdin=encode(payload))
    found = shadow(remote, text, current, payload.id, frames)
    remote.note(found.line)
    if worse := found.worse(limits):
        mend = "flash it without --model-only to have it nevertheless"
        raise GateError(f"{remote.ssh.host}: not switched: {'; '.join(worse)} ({found.line}): {mend}")
    return switch(remote, payload.id, wish.trial)


def shadow(remote: Remote, config: str, old: str, new: str, frames: int) -> Comparison:
    """Have two slots read the same frames of the device's camera, and compare them.

    Raises
    ------
    SourceError, ModelError
        When no frames could be recorded, or one of them cannot read them.
    """
    host = remote.ssh.host
    remote.note(f"recording {frames} frames with {old}; the service pauses meanwhile")
    try:
        lock = ["flock", "--nonblock", "--close", "--conflict-exit-code", 75, f"{remote.root}/opt"]
        words = ["sh", "-c", _RECORD, "sh", remote.home, old, frames, RECORD_S]
        done = remote.run([*lock, *words], stdin=config.encode())
        if done.code == 75:
            raise ConfigError(f"{host}: an installer is at work there: wait until it has ended")
        if done.code not in (0, 1, 4, LATE):
            raise SourceError(f"{host}: no frames were recorded: {done.err[-1] if done.err else f'exit {done.code}'}")
        read = []
        for slot in (old, new):
            remote.note(f"reading them with {slot}")
            done = remote.script(_REPLAY, remote.home, slot, REPLAY_S)
            if done.code not in (0, 1, 4):
                raise ModelError(f"{host}: {slot} did not read them: {done.err[-1] if done.err else done.code}")
            read.append(msgspec.json.decode(line, type=Seen) for line in done.out.splitlines() if line.startswith(b"{"))
    finally:
        remote.run(["rm", "-rf", f"{remote.home}/shadow"])
    return compare(*read)


def _reading_config(remote: Remote, slot: str, scratch: Path) -> tuple[str, Any]:
    """Return a slot's configuration with what decides how a frame is read alone, as text and read."""
    import tomlkit

    from digitcam.edge.config import load_config

    tree = tomlkit.parse((remote.read(f"/opt/digitcam/slots/{slot}/digitcam.toml") or b"").decode())
    for key in [key for key in tree if key not in READ_KEYS]:
        del tree[key]
    text = tomlkit.dumps(tree)
    (scratch / "shadow.toml").write_text(text)
    return text, load_config(scratch / "shadow.toml")


def _changed(remote: Remote, current: str, model: str, folder: Path) -> Payload:
    """Return a slot's payload with another bundle, whose files are written into a folder."""
    data = remote.read(f"/opt/digitcam/slots/{current}/payload.json")
    try:
        before = msgspec.json.decode(data or b"", type=Payload)
    except msgspec.MsgspecError as error:
        raise ConfigError(f"{remote.ssh.host}: {current}/{PAYLOAD}: {error}: flash it without --model-only") from None
    bundle = open_bundle(model)
    unpack(bundle, folder / "model")
    files = {path: sha256 for path, sha256 in before.files.items() if not path.startswith("model/")}
    files |= {f"model/{path.name}": sha256_of(path) for path in (folder / "model").iterdir()}
    return msgspec.structs.replace(before, id=payload_id(files), model=bundle.card.name, files=files)


def _complete(folder: Path, payload: Payload, missing: Mapping[str, str]) -> None:
    """Put what is missing on the device besides the bundle into a folder, from the payloads made here before."""
    for path, sha256 in missing.items():
        if (folder / path).exists():
            continue
        made = (found for found in payload_cache().glob(f"*/{path}") if sha256_of(found) == sha256)
        if (source := next(made, None)) is None:
            mend = "flash it without --model-only"
            raise ConfigError(f"{path} of {payload.id} is neither on the device any more nor here: {mend}")
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).symlink_to(source)


def _best(readings: Iterable[Seen]) -> dict[tuple[int, str], Seen]:
    best: dict[tuple[int, str], Seen] = {}
    for reading in readings:
        best.setdefault((reading.seq, reading.region), reading)
    return best


def _rejected(readings: Iterable[Seen]) -> int:
    return sum(not reading.accepted for reading in readings)


def _median_ms(readings: Iterable[Seen]) -> float:
    return statistics.median(r.latency_ms["total"] - r.latency_ms["capture"] for r in readings)
