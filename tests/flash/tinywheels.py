"""Wheels that pip takes for real ones, of a name, a version and requirements and nothing else."""

import zipfile
from pathlib import Path

AARCH64 = "cp313-cp313-manylinux_2_28_aarch64"


def tiny_wheel(folder: Path, name: str, version: str, *requires: str, tag: str = "py3-none-any") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    info = f"{name}-{version}.dist-info"
    lines = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}"]
    lines += [f"Requires-Dist: {one}" for one in requires]
    lines += [f"Provides-Extra: {one.split('extra == ')[1].strip(chr(34))}" for one in requires if "extra ==" in one]
    files = {
        f"{name}/__init__.py": "",
        f"{info}/METADATA": "\n".join(lines) + "\n",
        f"{info}/WHEEL": f"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: {tag}\n",
    }
    files[f"{info}/RECORD"] = "".join(f"{path},,\n" for path in [*files, f"{info}/RECORD"])
    wheel = folder / f"{name}-{version}-{tag}.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for path, text in files.items():
            archive.writestr(path, text)
    return wheel


def device_wheels(folder: Path) -> Path:
    """What the device side needs on a Raspberry Pi with Trixie, LiteRT and MQTT."""
    tiny_wheel(folder, "click", "8.3.0")
    tiny_wheel(folder, "msgspec", "0.20.0", tag=AARCH64)
    tiny_wheel(folder, "numpy", "2.4.0", tag=AARCH64)
    tiny_wheel(folder, "numpy", "2.2.4", tag=AARCH64)
    tiny_wheel(folder, "opencv_python_headless", "4.12.0.88", "numpy>=2", tag="cp37-abi3-manylinux_2_28_aarch64")
    tiny_wheel(folder, "ai_edge_litert", "2.1.0", "numpy>=1.23", "protobuf", tag=AARCH64)
    tiny_wheel(folder, "protobuf", "6.33.0")
    tiny_wheel(folder, "paho_mqtt", "2.1.0")
    return folder
