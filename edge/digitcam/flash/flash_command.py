"""The verb `digitcam flash`."""

from __future__ import annotations

import json
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from digitcam.core.errors import ConfigError
from digitcam.options import FiniteRange

if TYPE_CHECKING:
    from collections.abc import Callable

    from digitcam.flash.fleet import Row
    from digitcam.flash.remote import Remote
    from digitcam.flash.wish import Wish

PATH = click.Path(path_type=Path)
VERBS = ("status", "rollback", "remove", "model_only")
MODEL_ONLY_WINDOW_S = 15.0
"""How long a bundle is watched that has read live frames already."""
_LOCK = threading.Lock()


@click.command()
@click.argument("host", required=False)
@click.option("--model", help="A bundle's path or a shipped name.")
@click.option("--config", type=PATH, help="A TOML file, see edge/configs/; without it the device keeps its own.")
@click.option("--payload", type=PATH, help="A folder of `digitcam payload`, in place of --model and --config.")
@click.option("--engine", type=click.Choice(["litert", "onnx"]), help="LiteRT, or that of the configuration.")
@click.option(
    "--system-packages/--no-system-packages",
    default=None,
    help="Use what apt has installed there; without it as the source needs (picamera2 and gst do).",
)
@click.option("--numpy", help="The version of apt's numpy there; it is looked up.")
@click.option("--wheels", type=PATH, help="Take wheels from this folder alone, without a network.")
@click.option("--upgrade", is_flag=True, help="Ask for the newest wheels in place of those gathered before.")
@click.option("--secret", "secrets", multiple=True, metavar="NAME=FILE", help="A secret the configuration names.")
@click.option("--signers", type=PATH, help="Allowed signers; refuse a bundle that none of them has signed.")
@click.option("--ssh-config", type=PATH, help="In place of ~/.ssh/config.")
@click.option("--window", type=FiniteRange(min=0), help="Seconds to watch it; 60, with --model-only 15.")
@click.option("--memory-mb", type=FiniteRange(min=1), help="The most it may take; else half of the device's.")
@click.option("--no-reading-needed", is_flag=True, help="Ask for no accepted reading: nothing is in view yet.")
@click.option("--no-frames-needed", is_flag=True, help="Nor for frames, as of a folder that is watched.")
@click.option("--frames", type=click.IntRange(min=1), default=30, show_default=True, help="Compared by --model-only.")
@click.option("--agree", type=FiniteRange(0, 1), default=0.98, show_default=True, help="Least share of the same.")
@click.option("--slower", type=FiniteRange(min=0), default=1.5, show_default=True, help="Most times the time.")
@click.option("--dry-run", is_flag=True, help="Look at the device and say what would happen; change nothing.")
@click.option("--model-only", is_flag=True, help="Another bundle alone, if it is not worse on live frames.")
@click.option("--status", is_flag=True, help="Only say what is installed, and how it does.")
@click.option("--rollback", is_flag=True, help="Go back to the version before.")
@click.option("--remove", is_flag=True, help="Leave nothing of digitcam there, secrets and history included.")
@click.option(
    "--inventory",
    type=PATH,
    help="A TOML file of many devices: the canary first, then waves. --model and the like given here win over it.",
)
@click.option("--json", "as_json", is_flag=True, help="The status as JSON.")
@click.option("--root", default="/", hidden=True, help="A scratch root there, for tests.")
def flash(host: str | None, **options: Any) -> int:
    """Put runner, model and service onto HOST over your own ssh, watch them, and go back if they do not read.

    HOST is what `ssh` takes. Nothing that runs changes until the new version is whole there; broken off, the same
    command goes on. With --model-only only the bundle changes, and only if, on the same live frames, it agrees with the
    one that runs in --agree of the readings both accept, rejects at most 2% of the frames more, and takes at most
    --slower times as long.
    """
    verbs = [verb for verb in VERBS if options[verb]]
    if len(verbs) > 1:
        raise ConfigError(f"--{verbs[0].replace('_', '-')} and --{verbs[1].replace('_', '-')}: give one of them")
    if (host is None) == (options["inventory"] is None):
        raise ConfigError("give HOST, or --inventory FILE for many")
    if options["payload"] and (options["model"] or options["config"]):
        raise ConfigError("--payload has a bundle and a configuration in it: leave out --model and --config")
    verb = verbs[0] if verbs else None
    act = _act(verb, options)
    wish = _wish(options, host is not None, verb)
    if host is None:
        return _fleet(options, wish, verb, act)
    return _one(host, options, wish, verb, act)


def _one(host: str, options: dict[str, Any], wish: Wish, verb: str | None, act: Callable[[Remote, Wish], str]) -> int:
    from digitcam.flash.fleet import summary
    from digitcam.flash.remote import Remote
    from digitcam.flash.ssh import Ssh
    from digitcam.flash.wish import check_here

    if verb is None:
        check_here(wish)
    with Ssh(host, options["ssh_config"]) as ssh:
        remote = Remote(ssh, note, options["root"])
        if verb != "status":
            click.echo(f"{host}: {act(remote, wish)}")
            return 0
        told = remote.do("status")
    if options["as_json"]:
        click.echo(json.dumps(told, indent=2))
        return 0
    names = ("digitcam", "model", "slot", "service", "frames", "accepted")
    for name, cell in zip(names, summary(told), strict=True):
        click.echo(f"{name:9} {cell}")
    click.echo(f"previous  {told['previous'] or '-'}")
    if failed := told["failed"]:
        click.echo(f"failed    {failed['slot']}, {failed.get('at', '')}: {failed['reason']}")
    return 0


def _fleet(options: dict[str, Any], wish: Wish, verb: str | None, act: Callable[[Remote, Wish], str]) -> int:
    import tempfile

    from digitcam.flash.fleet import Fleet, table
    from digitcam.flash.inventory import load_inventory

    file = options["inventory"]
    fleet = Fleet(load_inventory(file), file.parent, wish, note, options["ssh_config"], options["root"])
    rows: list[Row]
    if verb == "status":
        rows = fleet.status()
    else:
        with tempfile.TemporaryDirectory(prefix="digitcam-") as scratch:
            try:
                wishes = fleet.wishes(Path(scratch), verb)
            except ConfigError as error:
                raise ConfigError(f"{file}: {error}") from None
            rows = fleet.act(act, wishes)
    if options["as_json"]:
        told = [{"name": row.host.name, "result": row.result, "status": row.status} for row in rows]
        click.echo(json.dumps(told, indent=2))
    else:
        for line in table(rows):
            click.echo(line)
    return next((row.error.exit_code for row in rows if row.error), 0)


def _act(verb: str | None, options: dict[str, Any]) -> Callable[[Remote, Wish], str]:
    """Return what is to be done with a host; it returns what to say of it."""

    def act(remote: Remote, wish: Wish) -> str:
        from digitcam.flash import flash as steps
        from digitcam.flash import removal, shadow

        dry_run = options["dry_run"]
        if dry_run and verb in ("rollback", "remove"):
            return f"would {verb.replace('rollback', 'go back')}"
        if verb == "rollback":
            return f"went back to {_go_back(remote)}"
        if verb == "remove":
            removal.remove(remote)
            return "removed"
        if verb == "model_only":
            limits = shadow.Limits(agreement=options["agree"], slower=options["slower"])
            told = shadow.flash_model(remote, wish, options["frames"], limits, dry_run)
        else:
            told = steps.flash(remote, wish, dry_run)
        return f"{'would run' if dry_run else 'runs'} {told['slot']}"

    return act


def _go_back(remote: Remote) -> str | None:
    """Have a device go back to the slot before; to that same one where it was under way when this was broken off."""
    told = remote.do("status")
    before = (told["trial"] or {"before": told["previous"]})["before"]
    slot: str | None = remote.do("rollback", *([before] if before else []))["slot"]
    return slot


def _wish(options: dict[str, Any], asks: bool, verb: str | None) -> Wish:
    from digitcam.flash.wish import Wish

    secrets = {}
    for pair in options["secrets"]:
        name, equals, file = pair.partition("=")
        if not (name and equals and file):
            raise ConfigError(f"--secret {name}: write it as NAME=FILE")
        secrets[name] = Path(file)
    window = options["window"] if options["window"] is not None else MODEL_ONLY_WINDOW_S if verb else None
    trial: list[object] = ["--window", window] if window is not None else []
    trial += ["--memory-mb", options["memory_mb"]] if options["memory_mb"] else []
    trial += [f"--{key.replace('_', '-')}" for key in ("no_reading_needed", "no_frames_needed") if options[key]]
    shared = ("model", "config", "payload", "engine", "system_packages", "numpy", "wheels", "upgrade", "signers")
    ask = _ask if asks and sys.stdin.isatty() else None
    return Wish(**{key: options[key] for key in shared}, secrets=secrets, trial=tuple(trial), ask=ask)


def _ask(what: str) -> str:
    return str(click.prompt(what, hide_input=True, confirmation_prompt=True, err=True))


def note(message: str) -> None:
    """Say what is being done, on standard error; several hosts may have something to say at once."""
    with _LOCK:
        print(message, file=sys.stderr, flush=True)
