"""The verbs of `digitcam bundle`."""

from __future__ import annotations

import sys
from pathlib import Path

import click

PATH = click.Path(path_type=Path)
SIGNERS = click.option("--signers", type=PATH, help="Allowed signers; refuse what none of them has signed.")


@click.group()
def bundle() -> None:
    """Pack, unpack, sign and verify bundles."""


@bundle.command("pack")
@click.argument("bundle")
@click.option("--out", type=PATH, help="NAME.digitcam by default.")
def bundle_pack(bundle: str, out: Path | None) -> None:
    """Verify BUNDLE and write it as one file; of the same bundle always the same bytes."""
    from digitcam.core.bundle import open_bundle
    from digitcam.core.packing import pack

    opened = open_bundle(bundle)
    out = out or Path(f"{_name(opened.path)}.digitcam")
    pack(opened, out)
    click.echo(out)


@bundle.command("unpack")
@click.argument("bundle")
@click.option("--out", type=PATH, help="The folder, NAME by default; must not exist.")
@SIGNERS
def bundle_unpack(bundle: str, out: Path | None, signers: Path | None) -> None:
    """Verify BUNDLE and write it as a folder."""
    from digitcam.core.bundle import open_bundle
    from digitcam.core.packing import unpack
    from digitcam.edge.signature import signer_of

    opened = open_bundle(bundle)
    if signers:
        signer_of(opened, signers)
    out = out or Path(_name(opened.path))
    unpack(opened, out)
    click.echo(out)


@bundle.command("sign")
@click.argument("bundle")
@click.option("--key", type=PATH, required=True, help="An SSH key, as ~/.ssh/id_ed25519; of an agent's the .pub file.")
@click.option("--anew", is_flag=True, help="In place of the signature that is there.")
def bundle_sign(bundle: str, key: Path, anew: bool) -> None:
    """Sign BUNDLE's card, and with it the SHA-256 of every file, with your SSH key."""
    from digitcam.core.bundle import SIGNATURE, open_bundle
    from digitcam.core.packing import check_signable, put_signature
    from digitcam.edge.signature import sign

    opened = open_bundle(bundle)
    check_signable(opened, anew)
    if sys.stderr.isatty():
        click.echo(f"signing with {key}: touch it, if it is a security key", err=True)
    put_signature(opened, sign(opened, key))
    click.echo(f"{opened.path}: {SIGNATURE} is in it")


@bundle.command("verify")
@click.argument("bundle")
@SIGNERS
def bundle_verify(bundle: str, signers: Path | None) -> None:
    """Check every file of BUNDLE against its card, and its signature; exit 3 where one is wrong or missing."""
    from digitcam.core.bundle import open_bundle
    from digitcam.edge.signature import is_signed, signer_of

    opened = open_bundle(bundle)
    opened.verify()
    if signers:
        signed = f"signed by {signer_of(opened, signers)}"
    elif is_signed(opened):
        signed = "signed, by whom is not known without --signers"
    else:
        signed = "not signed"
    click.echo(f"{opened.path}: {len(opened.card.files)} files as its card says; {signed}")


def _name(path: Path) -> str:
    """Return what to call a copy: from the bundle's path, as its card may say anything."""
    path = path.resolve()
    return path.stem if path.is_file() else path.name
