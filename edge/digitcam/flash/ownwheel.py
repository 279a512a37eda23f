"""digitcam's own wheel, of the very code that runs here: a workstation has a checkout or an installation, but no wheel.

pip's goes along, as Debian's Python has none to begin with.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import subprocess
import sys
import zipfile
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import unquote, urlsplit

from digitcam.core.errors import ConfigError

LEFT_OUT = ("RECORD", "INSTALLER", "REQUESTED", "direct_url.json")
"""Files of an installation that a wheel does not have; its RECORD is written anew."""
EPOCH = (2020, 2, 2, 0, 0, 0)
"""The time of every file in a wheel, so that the same code gives the same wheel."""


def own_wheel(folder: Path) -> Path:
    """Write digitcam's wheel into a folder and return its path: built from an editable checkout, else packed again.

    Raises
    ------
    ConfigError
        When the checkout cannot be built, or a file is not what was installed.
    """
    installed = distribution("digitcam")
    origin = json.loads(installed.read_text("direct_url.json") or "{}")
    if origin.get("dir_info", {}).get("editable"):
        return _build(Path(unquote(urlsplit(origin["url"]).path)), folder)
    return repack(installed, folder)


def pip_wheel(folder: Path) -> Path:
    """Write the wheel of the pip that is installed here into a folder and return its path.

    Raises
    ------
    ConfigError
        When there is none, or a file is not what was installed.
    """
    try:
        return repack(distribution("pip"), folder)
    except PackageNotFoundError:
        raise ConfigError(f"{sys.executable} has no pip: run '{sys.executable} -m ensurepip'") from None


def _build(checkout: Path, folder: Path) -> Path:
    # Without isolation nothing is downloaded, which pip would do even where hatchling is installed.
    isolation = ["--no-build-isolation"] if find_spec("hatchling") else []
    done = subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", *isolation, "--wheel-dir", folder, checkout],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1"},
    )
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["pip says nothing"])[-1]
        raise ConfigError(f"{checkout}: cannot build digitcam's wheel: {last}")
    (wheel,) = folder.glob("digitcam-*.whl")
    return wheel


def repack(installed: Distribution, folder: Path) -> Path:
    """Write an installed distribution as the wheel it came from, compiled files and scripts left out.

    Raises
    ------
    ConfigError
        When a file is missing, or differs from what the installer recorded.
    """
    contents: dict[str, bytes] = {}
    name = installed.metadata["Name"]
    for file in installed.files or ():
        if ".." in file.parts or "__pycache__" in file.parts or file.name in LEFT_OUT:
            continue
        place = Path(str(file.locate()))
        try:
            data = place.read_bytes()
        except OSError as error:
            raise ConfigError(f"{place}: cannot read it: {error.strerror}: install {name} anew") from None
        if file.hash and _digest(data, file.hash.mode) != file.hash.value:
            raise ConfigError(f"{place}: is not what was installed: install {name} anew")
        contents[file.as_posix()] = data
    info = next((path.partition("/")[0] for path in contents if path.endswith(".dist-info/METADATA")), None)
    if info is None:
        raise ConfigError(f"the installed {name} has no list of its files: install it with pip, into an environment")
    record = "".join(f"{path},sha256={_digest(data)},{len(data)}\n" for path, data in sorted(contents.items()))
    contents[f"{info}/RECORD"] = f"{record}{info}/RECORD,,\n".encode()
    wheel = folder / f"{info.removesuffix('.dist-info')}-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, data in sorted(contents.items()):
            member = zipfile.ZipInfo(path, EPOCH)
            member.external_attr = 0o100644 << 16
            member.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(member, data)
    return wheel


def _digest(data: bytes, algorithm: str = "sha256") -> str:
    """Return a digest as a RECORD has it."""
    return base64.urlsafe_b64encode(hashlib.new(algorithm, data).digest()).rstrip(b"=").decode()
