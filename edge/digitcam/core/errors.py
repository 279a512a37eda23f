"""The errors digitcam raises on purpose, each with the exit code of the command.

Every message is one line that says what is wrong, where (file or field), and how to mend it.
"""

from __future__ import annotations


class DigitcamError(Exception):
    """Base of all errors a user can mend; the command prints it on one line and exits with `exit_code`."""

    exit_code = 1


class ConfigError(DigitcamError):
    """A command line, recipe or configuration that cannot be used."""

    exit_code = 2


class ModelError(DigitcamError):
    """A bundle, card or engine that cannot be used."""

    exit_code = 3


class SourceError(DigitcamError):
    """A camera, file or data set that cannot be read."""

    exit_code = 4


class SinkError(DigitcamError):
    """An output or broker that cannot be written to."""

    exit_code = 5


class BenchmarkInvalidError(DigitcamError):
    """A measurement that must not be taken for a result."""

    exit_code = 6


class GateError(DigitcamError):
    """A network that missed an accuracy or parity gate."""

    exit_code = 7
