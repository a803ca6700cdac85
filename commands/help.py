"""The names of values in --help: the options' own, never Python's types."""

from typing import Any

import typer
from typer.core import TyperArgument, TyperCommand, TyperGroup, TyperOption

_NUMBERS = ("int", "float")


def command_of(app: typer.Typer) -> TyperCommand | TyperGroup:
    """The command or group of commands of an app, with --help for people."""
    command = typer.main.get_command(app)
    assert isinstance(command, TyperCommand | TyperGroup), "the app has no class of its own"
    _name_what_is_typed(command)
    return command


def _name_what_is_typed(command: TyperCommand | TyperGroup) -> None:
    for parameter in command.get_params(typer.Context(command)):  # This is so for --help itself, too.
        if isinstance(parameter, TyperArgument | TyperOption):
            _call_by_name(parameter)
    if isinstance(command, TyperGroup):
        for inner in command.commands.values():
            assert isinstance(inner, TyperCommand | TyperGroup), "as above"
            _name_what_is_typed(inner)


def _call_by_name(parameter: TyperArgument | TyperOption) -> None:
    def shown(ctx: Any) -> str | None:
        if isinstance(parameter, TyperArgument) or parameter.is_flag:
            return None  # An argument is shown by its name, and a flag has no value.
        if parameter.metavar is not None:
            return parameter.metavar
        python_type = parameter.display_type(ctx).strip("<>").removeprefix("list[").removesuffix("]")
        if "|" in python_type:
            return python_type  # These are the values to choose from.
        return "N" if python_type.startswith(_NUMBERS) else parameter.opts[0].lstrip("-").replace("-", "_").upper()

    parameter.display_type_rich = shown
