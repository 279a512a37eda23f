"""Print, as JSON, the SHA-256 of all that a bundle's int8 networks answer to its golden inputs: `... BUNDLE`.

Run by whichever Python digitcam is installed for, with the engines that there are; equal lines are equal answers, bit
for bit.
"""

import hashlib
import json
import sys

from digitcam.core.bundle import open_bundle
from digitcam.edge import engines


def digests(path: str) -> dict[str, str]:
    """Return a digest of the answers of each int8 format whose engine is installed."""
    bundle = open_bundle(path)
    found = {}
    for format in engines.available(bundle):
        if format.startswith("int8"):
            engine, digest = engines.load(bundle, format), hashlib.sha256()
            for image in bundle.golden().images:
                for name, value in sorted(engine.run(image[None]).items()):
                    digest.update(name.encode() + value.tobytes())
            found[format] = digest.hexdigest()
    return found


if __name__ == "__main__":
    print(json.dumps(digests(sys.argv[1])))
