"""Who vouches for a bundle: an SSH signature over `card.json`, which holds the SHA-256 of every other file.

Made and checked by OpenSSH's own ssh-keygen, which is on every workstation and Raspberry Pi, with keys that people have
already. Whose keys count says a file of ALLOWED SIGNERS as in ssh-keygen(1): one line a key, `NAME KEYTYPE KEY`.
"""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from digitcam.core.bundle import CARD, SIGNATURE, Bundle
from digitcam.core.errors import ConfigError, ModelError

NAMESPACE = "digitcam"
"""What a signature is for: one that the same key made for a commit or a mail does not count."""


def sign(bundle: Bundle, key: Path) -> bytes:
    """Return a signature over a bundle's card; ssh-keygen asks for the key's passphrase where it has one.

    Parameters
    ----------
    bundle
        Whose card is signed.
    key
        A private key's file, or the public one of a key that an SSH agent holds.

    Raises
    ------
    ConfigError
        When it cannot be signed with this key, or there is no ssh-keygen.
    """
    if not key.is_file():
        raise ConfigError(f"{key}: no such key: make one with ssh-keygen -t ed25519")
    done = _keygen(["sign", "-q", "-n", NAMESPACE, "-f", str(key)], bundle.card_data)
    if done.returncode:
        raise ConfigError(f"{key}: cannot sign with it: {_said(done)}")
    return done.stdout


def is_signed(bundle: Bundle) -> bool:
    """Return whether a bundle is signed, by whomever.

    Raises
    ------
    ModelError
        When there is a signature, but not of this card.
    ConfigError
        When there is no ssh-keygen.
    """
    signature = bundle.signature()
    if signature is None:
        return False
    with _in_file(signature) as file:
        done = _keygen(["check-novalidate", "-n", NAMESPACE, "-s", file], bundle.card_data)
    if done.returncode:
        raise _refused(bundle, _said(done))
    return True


def signer_of(bundle: Bundle, signers: Path) -> str:
    """Return the name under which a file of allowed signers lists the key that signed a bundle.

    Raises
    ------
    ModelError
        When the bundle is not signed, not by one of these keys, or its card was changed since.
    ConfigError
        When the file cannot be read, or there is no ssh-keygen.
    """
    try:
        signers.open("rb").close()
    except OSError as error:
        raise ConfigError(f"{signers}: cannot read the allowed signers: {error.strerror}") from None
    signature = bundle.signature()
    if signature is None:
        raise ModelError(f"{bundle.path}: is not signed, and {signers} names who must: digitcam bundle sign")
    with _in_file(signature) as file:
        where = ["-f", str(signers), "-s", file]
        found = _keygen(["find-principals", *where], b"")
        if found.returncode:
            raise _refused(bundle, _said(found), signers)
        said = ""
        # One key may stand there under several names; the first that may sign for us will do.
        for name in found.stdout.decode(errors="replace").splitlines():
            done = _keygen(["verify", "-n", NAMESPACE, "-I", name, *where], bundle.card_data)
            if done.returncode == 0:
                return name
            said = said or _said(done)
    raise _refused(bundle, said, signers)


def _refused(bundle: Bundle, said: str, signers: Path | None = None) -> ModelError:
    """Return the error for what ssh-keygen said of a signature."""
    if "incorrect signature" in said:
        why = f"{CARD} was changed after it was signed: copy it again, or have it signed anew"
    elif said.startswith("No principal matched"):
        why = f"is signed by a key that {signers} does not list: have it signed by one that is there"
    elif said.startswith(f"{signers}:"):
        why = f"is signed by a key that is not allowed: {said}"
    else:
        why = f"{SIGNATURE} is refused: {said}"
    return ModelError(f"{bundle.path}: {why}")


def _said(done: subprocess.CompletedProcess[bytes]) -> str:
    """Return ssh-keygen's complaint: the first line that is none of a banner's; those after it only say so again."""
    lines = done.stderr.decode(errors="replace").strip().splitlines()
    return next((line for line in lines if not line.startswith("@")), f"exit code {done.returncode}")


@contextmanager
def _in_file(signature: bytes) -> Iterator[str]:
    """Give the path of a file with a signature, which may be one out of an archive."""
    with ExitStack() as stack:
        try:
            file = stack.enter_context(tempfile.NamedTemporaryFile(prefix="digitcam-"))
            file.write(signature)
            file.flush()
        except OSError as error:
            raise ConfigError(f"cannot write a temporary file: {error.strerror}: make room, or set TMPDIR") from None
        yield file.name


def _keygen(words: list[str], data: bytes) -> subprocess.CompletedProcess[bytes]:
    try:
        done = subprocess.run(["ssh-keygen", "-Y", *words], input=data, capture_output=True, check=False)
    except FileNotFoundError:
        raise ConfigError("no ssh-keygen, which signatures need: sudo apt install openssh-client") from None
    if done.returncode and b"No user exists" in done.stderr:
        # It looks its user up, and a service's with DynamicUser= is in no file.
        raise ConfigError("ssh-keygen does not know the user it runs as: sudo apt install libnss-systemd")
    return done
