"""The array types in digitcam's signatures; shapes and units stand in each docstring."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.floating]
UInt8Array = npt.NDArray[np.uint8]
