"""The verbs that put digitcam onto a device: `digitcam payload` and `digitcam image`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Callable

    from digitcam.edge.config import RunConfig
    from digitcam.flash.bootfolder import Settings
    from digitcam.flash.payload import Payload

PATH = click.Path(path_type=Path)


def note(message: str) -> None:
    """Say what is being done, on standard error."""
    print(message, file=sys.stderr, flush=True)


def for_device(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that say what is to run on a device, and where its wheels come from."""
    options = (
        click.option("--model", required=True, help="A bundle's path or a shipped name."),
        click.option("--config", type=PATH, required=True, help="A TOML file, see edge/configs/."),
        click.option("--engine", type=click.Choice(["litert", "onnx"]), help="LiteRT, or that of the configuration."),
        click.option("--python", default="3.13", show_default=True, help="Its; Trixie has 3.13, Bookworm 3.11."),
        click.option(
            "--system-packages/--no-system-packages",
            default=None,
            help="Use what apt has installed there; without it as the source needs (picamera2 and gst do).",
        ),
        click.option("--numpy", help="The version of apt's numpy there; that of Debian is known."),
        click.option("--wheels", type=PATH, help="Take wheels from this folder alone, without a network."),
        click.option("--upgrade", is_flag=True, help="Ask for the newest wheels in place of those gathered before."),
    )
    for option in reversed(options):
        command = option(command)
    return command


@click.command()
@for_device
@click.option("--machine", default="aarch64", show_default=True, help="As `uname -m` says there.")
@click.option("--out", type=PATH, required=True, help="The payload's folder.")
@click.option("--replace", is_flag=True, help="Where another payload is there, put this one in its place.")
def payload(out: Path, replace: bool, machine: str, **options: Any) -> None:
    """Write all that a device needs into one folder, as `image` puts it on a card and Ansible copies it.

    Wheels are for the device's Python and processor; it needs no network. No secret is in it.
    """
    made = _build(out, machine, replace, options)
    click.echo(f"{out}: {made.id}, digitcam {made.digitcam}, {made.model}, {len(made.files)} files")


@click.command()
@click.argument("boot_folder", type=PATH)
@for_device
@click.option("--hostname", help="The Pi's name.")
@click.option("--timezone", help="Such as Europe/Berlin.")
@click.option("--user", default="pi", show_default=True, help="Who may log in with --ssh-key.")
@click.option("--ssh-key", type=PATH, help="A public key's file; without it nobody can log in by ssh.")
@click.option("--wifi", metavar="NAME", help="A WPA2 network; its password is asked for. Without it: cable.")
@click.option("--wifi-country", metavar="CC", help="Where the Pi is, as DE.")
@click.option("--wifi-password-file", type=PATH, help="Its first line is the password.")
@click.option("--wifi-hidden", is_flag=True, help="The network does not tell its name.")
@click.option("--secret", "secrets", multiple=True, metavar="NAME=FILE", help="A secret the configuration names.")
@click.option("--replace", is_flag=True, help="Have yours in place of settings somebody else has put there.")
@click.option("--dry-run", is_flag=True, help="Only say what would be written.")
def image(boot_folder: Path, **options: Any) -> None:
    """Have a card with Raspberry Pi OS (64 bit, Trixie) boot into digitcam; BOOT_FOLDER is its first partition.

    Users, keys and network that Raspberry Pi Imager has written stay. Of a wireless password only the key made of it
    lies on the card, and stays there. Passwords for the broker and the like are asked for; the first boot moves them
    from the boot partition to /etc/digitcam, for root alone. Until then, and to who reads the bare card even later,
    they are readable: keep the card as you keep the passwords. What the first boot did is in digitcam-log.txt there.
    """
    import tempfile

    from digitcam.edge.config import load_config
    from digitcam.flash import bootfolder

    bootfolder.check_boot_folder(boot_folder)
    config = load_config(options["config"])
    settings = _settings(config, options)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "payload"
        made = _build(folder, "aarch64", False, options)
        files = bootfolder.plan(boot_folder, made, folder, settings, options["replace"])
        if options["dry_run"]:
            for line in bootfolder.describe(boot_folder, files):
                click.echo(line)
            return
        written = bootfolder.write(boot_folder, files)
    click.echo(f"{boot_folder}: payload {made.id}, {len(written)} files written; eject the card before you take it out")
    if settings.packages:
        note(f"the first boot fetches {' '.join(settings.packages)} from the internet, unless the system has it")


def _build(out: Path, machine: str, replace: bool, options: dict[str, Any]) -> Payload:
    from digitcam.edge.config import load_config
    from digitcam.flash.payload import build_payload
    from digitcam.flash.target import target_for
    from digitcam.flash.wish import check_bundle

    config = load_config(options["config"])
    check_bundle(options["model"], config, None)
    target = target_for(config, machine, options["python"], options["system_packages"], options["numpy"])
    return build_payload(
        out,
        options["model"],
        options["config"],
        target,
        options["engine"],
        wheels=options["wheels"],
        upgrade=options["upgrade"],
        replace=replace,
        note=note,
    )


def _settings(config: RunConfig, options: dict[str, Any]) -> Settings:
    """Return what `image` is to tell the Pi besides; what is secret is asked for where no file is given."""
    from digitcam.core.errors import ConfigError
    from digitcam.flash import bootfolder, cloudinit, secrets

    def ask(what: str) -> str:
        if options["dry_run"]:
            return "not asked"
        return str(click.prompt(what, hide_input=True, confirmation_prompt=True, err=True))

    keys, told, network = [], None, None
    if key := options["ssh_key"]:
        try:
            keys = cloudinit.public_keys(key.read_text(encoding="utf-8"), str(key))
        except (OSError, UnicodeDecodeError):
            raise ConfigError(f"--ssh-key {key}: cannot read it: give the file that ends in .pub") from None
    if keys or options["hostname"] or options["timezone"]:
        told = cloudinit.user_data(options["user"], keys, options["hostname"], options["timezone"])
    if name := options["wifi"]:
        if not options["wifi_country"]:
            raise ConfigError("--wifi needs --wifi-country CC: which channels are allowed depends on it")
        if file := options["wifi_password_file"]:
            password = secrets.first_line(file, "--wifi-password-file")
        else:
            password = ask(f"password of {name}")
        network = cloudinit.wifi(name, options["wifi_country"], password, options["wifi_hidden"])
    packages = ("python3-picamera2",) if config.source.startswith("picamera2:") else ()
    return bootfolder.Settings(told, network, secrets.gather(config, options["secrets"], ask), packages)
