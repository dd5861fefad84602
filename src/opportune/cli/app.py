"""The table of commands. A command's module is imported when it is run or when its help line is shown."""

from __future__ import annotations

from importlib import import_module

import click

COMMANDS = {
    "demo": "demo",
    "serve": "serve",
    "init": "init",
    "import": "imports",
    "decide": "decide",
    "profile": "profile",
    "identity": "identity",
    "accounting": "accounting",
    "dead-letters": "dead_letters",
    "replay": "replay",
    "simulate": "simulate",
    "experiments": "experiments",
    "fairness": "fairness",
    "train": "train",
    "evaluate": "evaluate",
    "compare": "compare",
    "backtest": "backtest",
    "promote": "promote",
    "rollback": "rollback",
    "doctor": "doctor",
    "cluster": "cluster",
    "backup": "backup",
    "restore": "restore",
    "privacy": "privacy",
    "retention": "retention",
    "keys": "keys",
    "users": "users",
    "audit": "audit",
    "schema": "schema",
    "bench": "bench",
    "version": "version",
}
"""Command -> module of this package that holds it as ``command``, in the order that help shows them."""


class _Lazy(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        module = COMMANDS.get(cmd_name)
        if module is None:
            return None
        found = import_module(f"opportune.cli.{module}").command
        assert isinstance(found, click.Command)
        return found


class Examples(click.Command):
    """A command whose help ends with examples."""

    def __init__(self, *args: object, examples: str = "", **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]  # click's own constructor arguments
        self.examples = examples

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        super().format_epilog(ctx, formatter)
        if self.examples:
            with formatter.section("Examples"):
                for line in self.examples.strip().splitlines():
                    formatter.write(f"  {line.strip()}\n")


@click.group(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="opportune", message="%(version)s")
def app() -> None:
    """A real-time personalization engine that you run yourself.

    Start with 'opportune demo': a shop with real products that re-ranks while you look around.
    """


def every_command() -> list[tuple[str, click.Command]]:
    """Every command that does something, those within groups too, by its whole name (``cluster lag``)."""
    context = click.Context(app, info_name="opportune")
    found: list[tuple[str, click.Command]] = []
    for name in COMMANDS:
        command = app.get_command(context, name)
        assert command is not None
        found += _within(name, command)
    return found


def _within(name: str, command: click.Command) -> list[tuple[str, click.Command]]:
    if not isinstance(command, click.Group):
        return [(name, command)]
    return [one for sub, part in command.commands.items() for one in _within(f"{name} {sub}", part)]
