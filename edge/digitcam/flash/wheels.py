"""All wheels a machine needs, gathered by pip on this one, so that the machine itself needs no network.

pip can be told another machine's platform and Python, but weighs the conditions in requirements ("where Python is older
than 3.13") by its own. So what it brought is checked against the machine's, and what is lacking is asked for by name.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Sequence
from email.parser import Parser
from pathlib import Path

from digitcam.core.errors import ConfigError, SourceError
from digitcam.flash.target import Target

ROUNDS = 5
"""How often pip is asked at most; each round brings what the last one's wheels need besides."""
_NO_NETWORK = re.compile(
    r"connection broken by|ConnectionError|Max retries exceeded|Temporary failure in name|timed out"
)
_NOT_FOUND = re.compile(r"No matching distribution found for (\S+)")
_CONFLICT = re.compile(r"Cannot install (.*) because")


def gather(
    own: Path,
    extras: Sequence[str],
    target: Target,
    into: Path,
    folder: Path | None = None,
    upgrade: bool = False,
    note: Callable[[str], None] = lambda message: None,
) -> None:
    """Copy the wheels `target` needs to run digitcam, its own apart, into a folder; from the cache if they are there.

    Parameters
    ----------
    own
        digitcam's wheel.
    extras
        Of digitcam.
    into
        A folder that is there.
    folder
        Wheels to take them from in place of the network and the cache; None for these.
    upgrade
        Whether to ask for the newest again in place of those in the cache.
    note
        Is told what takes time.

    Raises
    ------
    ConfigError
        When there is no wheel for the target, named by its package, or pip or packaging is not installed.
    SourceError
        When there is no network and nothing in the cache.
    """
    if folder is not None:
        if not folder.is_dir():
            raise ConfigError(f"--wheels {folder}: no such folder")
        with tempfile.TemporaryDirectory() as scratch:
            for wheel in _resolve(own, extras, target, folder, Path(scratch)):
                shutil.copy(wheel, into)
        return
    cache = cache_folder() / _key(own, extras, target)
    kept = [] if upgrade else _kept(cache)
    if not kept:
        note(f"gathering wheels for Python {target.python} on {target.machine}; this takes a while, once")
        kept = _fill(cache, own, extras, target)
    for wheel in kept:
        shutil.copy(wheel, into)


def _fill(cache: Path, own: Path, extras: Sequence[str], target: Target) -> list[Path]:
    """Put wheels into the cache, whole or not at all, and return them."""
    cache.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache.parent) as scratch:
        whole = Path(scratch) / "whole"
        whole.mkdir()
        for wheel in _resolve(own, extras, target, None, Path(scratch)):
            wheel.rename(whole / wheel.name)
        hashes = {wheel.name: _sha256(wheel) for wheel in whole.iterdir()}
        (whole / "wheels.json").write_text(json.dumps(hashes, indent=2, sort_keys=True))
        shutil.rmtree(cache, ignore_errors=True)
        whole.rename(cache)
    return sorted(cache / name for name in hashes)


def cache_folder() -> Path:
    """Return the folder of the wheels once gathered."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "digitcam" / "wheels"


def wheel_version(wheel: Path) -> tuple[str, str]:
    """Return a wheel's package and version, by its file name."""
    name, version = wheel.name.split("-")[:2]
    return re.sub(r"[-_.]+", "-", name).lower(), version


def _key(own: Path, extras: Sequence[str], target: Target) -> str:
    """Return what stands for a question to pip; digitcam's own version does not matter, what it requires does."""
    question = json.dumps([sorted(_requires(own)), sorted(extras), target])
    return hashlib.sha256(question.encode()).hexdigest()[:16]


def _kept(cache: Path) -> list[Path]:
    """Return the wheels of an earlier answer, none where one is missing or damaged."""
    try:
        hashes = json.loads((cache / "wheels.json").read_text())
        whole = all(_sha256(cache / name) == sha256 for name, sha256 in hashes.items())
    except (OSError, ValueError):
        return []
    return sorted(cache / name for name in hashes) if whole else []


def _resolve(own: Path, extras: Sequence[str], target: Target, source: Path | None, scratch: Path) -> list[Path]:
    wanted = [f"{own}[{','.join(extras)}]" if extras else str(own)]
    for turn in range(ROUNDS):
        folder = scratch / str(turn)
        _download(wanted, target, source, folder)
        needed, lacking = _closure(folder, own, extras, target)
        if not lacking:
            return needed
        wanted += lacking
    raise ConfigError(f"no set of wheels fits Python {target.python} on {target.machine}: lacking {', '.join(lacking)}")


def _download(wanted: Sequence[str], target: Target, source: Path | None, folder: Path) -> None:
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--only-binary=:all:", "--dest", str(folder)]
    command += ["--implementation", "cp", "--python-version", target.python, "--retries", "2"]
    command += [word for platform in target.platforms for word in ("--platform", platform)]
    environment = {**os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    if source is not None:
        # Nothing but the folder: an index or further folders in pip's configuration do not count.
        command += ["--isolated", "--no-index", "--find-links", str(source)]
        environment["PIP_CONFIG_FILE"] = os.devnull
    if target.numpy is not None:
        # Not taken along, but what is chosen has to suit it.
        folder.mkdir(parents=True)
        constraints = folder / "constraints.txt"
        constraints.write_text(f"numpy=={target.numpy}\n")
        command += ["--constraint", str(constraints)]
    done = subprocess.run([*command, *wanted], capture_output=True, text=True, check=False, env=environment)
    if done.returncode:
        raise _explain(done.stderr, target, source)


def _explain(stderr: str, target: Target, source: Path | None) -> ConfigError | SourceError:
    where = f"Python {target.python} on {target.machine}"
    if "No module named pip" in stderr:
        return ConfigError(f"{sys.executable} has no pip: run '{sys.executable} -m ensurepip'")
    if source is None and _NO_NETWORK.search(stderr):
        return SourceError(f"no network, and no wheels for {where} kept from before: connect, or give --wheels FOLDER")
    if missing := _NOT_FOUND.search(stderr):
        place = f" in {source}" if source else ""
        return ConfigError(f"{missing[1]}: no wheel for {where}{place}: choose another Python or --engine")
    if conflict := _CONFLICT.search(stderr):
        return ConfigError(f"no versions of {conflict[1]} go together for {where}: choose another Python or --engine")
    last = (stderr.strip().splitlines() or ["it says nothing"])[-1]
    return ConfigError(f"pip found no wheels for {where}: {last.removeprefix('ERROR: ')}")


def _closure(folder: Path, own: Path, extras: Sequence[str], target: Target) -> tuple[list[Path], list[str]]:
    """Return the wheels in a folder that digitcam needs on the target, and the requirements that none of them meets."""
    try:
        from packaging.requirements import Requirement
    except ModuleNotFoundError:
        raise ConfigError("this needs packaging: pip install 'digitcam[flash]'") from None

    wheels = {wheel_version(wheel)[0]: wheel for wheel in folder.glob("*.whl")}
    lacking: list[str] = []
    seen = {("digitcam", extra) for extra in ("", *extras)}
    todo = list(seen)
    while todo:
        package, extra = todo.pop()
        for text in _requires(own if package == "digitcam" else wheels[package]):
            requirement = Requirement(text)
            if requirement.marker and not requirement.marker.evaluate({**target.markers, "extra": extra}):
                continue
            name = re.sub(r"[-_.]+", "-", requirement.name).lower()
            if name == "numpy" and target.numpy is not None:
                continue
            if name not in wheels or not requirement.specifier.contains(
                wheel_version(wheels[name])[1], prereleases=True
            ):
                requirement.marker = None
                lacking.append(str(requirement))
                continue
            further = {(name, extra) for extra in ("", *requirement.extras)} - seen
            seen |= further
            todo += further
    needed = {package for package, _ in seen} - {"digitcam"}
    return sorted(wheels[name] for name in needed), sorted(set(lacking))


def _requires(wheel: Path) -> list[str]:
    with zipfile.ZipFile(wheel) as archive:
        name = next(name for name in archive.namelist() if re.fullmatch(r"[^/]+\.dist-info/METADATA", name))
        return Parser().parsestr(archive.read(name).decode()).get_all("Requires-Dist", [])


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
