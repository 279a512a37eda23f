"""The machine a payload is for, and which of digitcam's extras its configuration needs there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

from digitcam.core.errors import ConfigError

if TYPE_CHECKING:
    from digitcam.edge.config import RunConfig

MACHINES = ("aarch64", "x86_64")
PYTHONS = ("3.10", "3.11", "3.12", "3.13")
APT_NUMPY = {"3.11": "1.24.2", "3.13": "2.2.4"}
"""Debian's numpy, by its Python: what picamera2 of Raspberry Pi OS Bookworm and Trixie was compiled against."""
OLDEST_GLIBC = 17
"""That of manylinux2014, below which there are no aarch64 wheels."""

Engine = Literal["litert", "onnx"]
_SUFFIX: dict[Engine, str] = {"litert": "tflite", "onnx": "onnx"}


class Target(NamedTuple):
    """What wheels have to suit.

    machine, python
        As `uname -m` has it, and 3.13.
    glibc
        The minor number of its C library, 35 for 2.35. Bookworm has 36, Trixie 41, Ubuntu 22.04, as on a Jetson, 35.
    system_packages
        Whether the environment there sees what apt has installed: picamera2, or GStreamer's Python.
    numpy
        The version apt has installed, if that is to be used; else None.
    """

    machine: str = "aarch64"
    python: str = "3.13"
    glibc: int = 35
    system_packages: bool = False
    numpy: str | None = None

    @property
    def platforms(self) -> list[str]:
        """The platforms whose wheels run there, by pip's names, the newest first."""
        names = [f"manylinux_2_{minor}_{self.machine}" for minor in range(self.glibc, OLDEST_GLIBC - 1, -1)]
        return [*names, f"manylinux2014_{self.machine}", f"linux_{self.machine}"]

    @property
    def markers(self) -> dict[str, str]:
        """What the environment markers of requirements hold there."""
        return {
            "python_version": self.python,
            "python_full_version": f"{self.python}.0",
            "implementation_name": "cpython",
            "implementation_version": f"{self.python}.0",
            "platform_python_implementation": "CPython",
            "os_name": "posix",
            "sys_platform": "linux",
            "platform_system": "Linux",
            "platform_machine": self.machine,
            "platform_release": "",
            "platform_version": "",
        }


def target_for(
    config: RunConfig,
    machine: str = "aarch64",
    python: str = "3.13",
    system_packages: bool | None = None,
    numpy: str | None = None,
    glibc: int = 35,
) -> Target:
    """Return the target for a configuration: a picamera2 or gst source needs apt's packages, unless told otherwise.

    Raises
    ------
    ConfigError
        When there are no wheels for the machine or the Python, or nothing is known about apt's numpy there.
    """
    if machine not in MACHINES:
        mend = ": put a 64-bit system on it" if machine in ("armv6l", "armv7l", "i686") else ""
        raise ConfigError(f"{machine}: there are wheels of the engines for {' and '.join(MACHINES)} only{mend}")
    if python not in PYTHONS:
        raise ConfigError(f"Python {python}: digitcam runs on {PYTHONS[0]} to {PYTHONS[-1]}")
    scheme = config.source.partition(":")[0]
    system = system_packages if system_packages is not None else scheme in ("picamera2", "gst")
    if not system:
        return Target(machine, python, glibc)
    if scheme == "picamera2" and numpy is None and python not in APT_NUMPY:
        raise ConfigError(f"Python {python}: give the version of apt's numpy there with --numpy")
    # GStreamer's Python does not use numpy: there a newer one may hide apt's.
    return Target(machine, python, glibc, True, numpy or (APT_NUMPY[python] if scheme == "picamera2" else None))


def extras_for(config: RunConfig, engine: Engine | None) -> list[str]:
    """Return the extras a configuration needs: the engine of its format, by default LiteRT, [mqtt] and [web].

    Raises
    ------
    ConfigError
        When the format is not one of the engine's.
    """
    suffix = config.format.partition(".")[2] if config.format else None
    chosen: Engine = engine or ("onnx" if suffix == "onnx" else "litert")
    if suffix and suffix != _SUFFIX[chosen]:
        raise ConfigError(f"--engine {chosen}: cannot run format = {config.format!r}: change one of them")
    return [chosen, *(["mqtt"] if config.mqtt else []), *(["web"] if config.web else [])]
