"""Keeping the memory that a step frees for the next one."""

from __future__ import annotations

import ctypes

# Of <malloc.h>.
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX = -1, -2, -4
KEPT = 2**31 - 1
"""Bytes of freed memory that stay with the process, the most that can be told."""
AHEAD = 2**28
"""Bytes asked of the system at once."""


def keep_freed_memory() -> None:
    """Let the C library keep freed memory instead of giving it back to the system, for the rest of the process.

    A step's maps are too large for the library to keep by itself: the system takes each back and clears another for the
    next, page by page, which with large maps costs a good part of the step. Only glibc can be told, by mallopt(3);
    elsewhere nothing happens.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        for parameter, value in ((_MMAP_MAX, 0), (_TRIM_THRESHOLD, KEPT), (_TOP_PAD, AHEAD)):
            mallopt(parameter, value)
