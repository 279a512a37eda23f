"""Every reader at its best on the same frames: settings chosen on other frames, then all measured in turn."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from digitcam.benchmarks.peers.footprint import megabytes, memory_mb
from digitcam.benchmarks.peers.protocol import Peer, PeerReader, Scene
from digitcam.benchmarks.peers.run import best_setting, read_in_turn, told
from digitcam.benchmarks.results.peers import Peer as Told
from digitcam.core.errors import ConfigError

WARM_UP = 2
"""Frames that every chosen reader reads before it counts."""
NEVER = dict.fromkeys(("easyocr", "paddleocr"), "downloads its networks at first use")
"""Peers that are not measured anywhere, and why."""
MEMORY_FRAMES = 5
"""Frames that a reader reads in a process of its own."""
Memory = Callable[[Peer, int, Sequence[Scene]], float]
"""Returns what a process with one reader of a peer holds at most, in 10^6 bytes; the reader by its place."""


class _Entry(NamedTuple):
    """A reader chosen, and its place among its peer's."""

    peer: Peer
    place: int
    reader: PeerReader


def present(peers: Sequence[Peer], only: Sequence[str]) -> tuple[list[Peer], dict[str, str]]:
    """Return the peers to measure, and by name why not others; `only` the named ones, by default all that are ready.

    Raises
    ------
    ConfigError
        When one in `only` is not known or not ready, or none at all is.
    """
    known = {peer.name: peer for peer in peers}
    if unknown := [name for name in only if name not in known]:
        raise ConfigError(f"--peer {unknown[0]}: is not known: choose from {', '.join(known)}")
    left_out = {name: why for name, peer in known.items() if (why := peer.missing()) is not None}
    if absent := [name for name in only if name in left_out]:
        raise ConfigError(f"--peer {absent[0]}: is not ready: {left_out[absent[0]]}")
    if len(left_out) == len(known):
        first, why = next(iter(left_out.items()))
        raise ConfigError(f"bench peers has nothing to compare with: for {first}: {why}")
    left_out |= {name: "not among those named by --peer" for name in known if only and name not in (*only, *left_out)}
    return [peer for name, peer in known.items() if name not in left_out], NEVER | left_out


def compare(
    ours: Peer,
    peers: Sequence[Peer],
    scenes: Sequence[Scene],
    tuning: Sequence[Scene],
    say: Callable[[str], None] = print,
    memory: Memory = memory_mb,
    look: Callable[[], None] = lambda: None,
) -> dict[str, Told]:
    """Return by name what is told of digitcam and of each peer, on whole frames and, as `NAME-crop`, on crops.

    `NAME-default` is a peer as it comes, where another setting was better. Crops are left out where it is not known of
    every frame where its number stands.

    Parameters
    ----------
    tuning
        Other frames of the same kind, on which the settings are chosen.
    look
        Called between the frames.
    """
    entries: dict[str, _Entry] = {}
    for peer in (ours, *peers):
        entries |= _chosen(peer, tuning, all(scene.box_xywh is not None for scene in (*scenes, *tuning)))
    readers = {name: entry.reader for name, entry in entries.items()}
    for name, reader in readers.items():
        say(f"{name:14} {reader.setting}")
    read_in_turn(readers, tuning[:WARM_UP])
    found = read_in_turn(readers, scenes, look=look)
    measured = {}
    for name, (peer, place, reader) in entries.items():
        held_mb = memory(peer, place, scenes[:MEMORY_FRAMES])
        one = measured[name] = told(reader, found[name], found[ours.name], held_mb, megabytes(peer.files()))
        say(
            f"{name:14} {one.sequence_accuracy:.3f} right, {one.p50_ms:.1f} ms a frame (median, p90 {one.p90_ms:.1f}), "
            f"{one.times:.1f} times digitcam's; {one.memory_mb:.0f} MB of memory, {one.install_mb:.0f} MB installed"
        )
    return measured


def _chosen(peer: Peer, tuning: Sequence[Scene], boxed: bool) -> dict[str, _Entry]:
    """Return a peer's best reader of whole frames, the one it comes with, and with boxes the best of crops."""
    readers = peer.readers()
    entries = {}
    for name, crop in ((peer.name, False), (f"{peer.name}-crop", True)):
        places = [place for place, reader in enumerate(readers) if reader.crop == crop and (boxed or not crop)]
        if places:
            place = places[best_setting([readers[place] for place in places], tuning)]
            entries[name] = _Entry(peer, place, readers[place])
            if place != 0 and not crop:
                entries[f"{name}-default"] = _Entry(peer, 0, readers[0])
    return entries
