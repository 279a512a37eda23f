"""Verbs of the command whose modules are loaded only when they are called: to be told of all must not load all."""

from __future__ import annotations

from importlib import import_module

import click


class Later(click.Command):
    """Stands for a verb in the list of them; `where` is its module and its name there, as `package.module:verb`."""

    def __init__(self, name: str, where: str, short_help: str) -> None:
        super().__init__(name, short_help=short_help)
        self.where = where

    def load(self) -> click.Command:
        """Return the verb itself."""
        module, _, name = self.where.partition(":")
        found: click.Command = getattr(import_module(module), name)
        return found


class Verbs(click.Group):
    """A command of verbs, of which some may be `Later`."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the verb that is asked for, loaded, its name, and what follows it."""
        name, command, rest = super().resolve_command(ctx, args)
        return name, command.load() if isinstance(command, Later) else command, rest
