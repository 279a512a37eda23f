"""Whether the folders that a configuration names can be there, looked at without making any."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from digitcam.core.errors import ConfigError
from digitcam.edge.config import RunConfig


def check_folders(config: RunConfig) -> None:
    """See whether history and hard frames have a place.

    Whether it may be written to is not asked: a service runs as another user, and has folders made for it. Where this
    user may not look, as in those that systemd makes for a service without a user of its own, nothing is asked.

    Raises
    ------
    ConfigError
        When a file is where a folder has to be, or a folder where the history's file has to be.
    """
    if config.history:
        file = Path(config.history.file)
        with suppress(PermissionError):
            if file.is_dir():
                raise ConfigError(f"{file}: is a folder: change history.file")
            _check("history.file", file.parent)
    if config.hard_frames:
        with suppress(PermissionError):
            _check("hard_frames.folder", Path(config.hard_frames.folder))


def nearest(path: Path) -> Path:
    """Return what there is already of a path: itself, or the nearest folder above it.

    Raises
    ------
    PermissionError
        When this user may not look there.
    """
    return next(place for place in (path, *path.parents) if place.exists())


def _check(key: str, folder: Path) -> None:
    if not (there := nearest(folder)).is_dir():
        raise ConfigError(f"{folder}: cannot be made, {there} is no folder: change {key}")
