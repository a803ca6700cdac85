"""--help, as it is read by people who do not know Python."""

import re
from collections.abc import Iterator

import pytest
import typer
from commandline import CommandLine
from typer.core import TyperArgument, TyperCommand, TyperGroup, TyperOption

import starter
import worker
from commands.help import command_of

PYTHON_TYPES = re.compile(r"<.*>|\b(str|int|float|bool|date|datetime|path|list|function|any)\b|\[(str|int)")


def all_commands(command: TyperCommand | TyperGroup, *names: str) -> Iterator[tuple[str, TyperCommand]]:
    if isinstance(command, TyperGroup):
        for name, inner in command.commands.items():
            assert isinstance(inner, TyperCommand | TyperGroup)
            yield from all_commands(inner, *names, name)
    else:
        yield " ".join(names), command


COMMANDS = [
    *all_commands(command_of(starter.app), "starter.py"),
    *all_commands(command_of(worker.app), "worker.py"),
]


@pytest.mark.parametrize(("name", "command"), COMMANDS, ids=[name for name, _ in COMMANDS])
def test_help_names_what_is_typed_and_no_type_of_python(name: str, command: TyperCommand) -> None:
    context = typer.Context(command, info_name=name)
    for parameter in command.get_params(context):
        assert isinstance(parameter, TyperArgument | TyperOption)
        shown = parameter.display_type_rich(context) or ""
        assert not PYTHON_TYPES.search(shown), (parameter.name, shown)
        if isinstance(parameter, TyperOption) and not parameter.is_flag:
            assert shown, parameter.name


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("deposit",), ["AMOUNT Tokens above 0, such as 12 or 0.5.", "--at ISO When it occurred"]),
        (("activate",), ["--region REGION ISO 3166-1", "--channel web|app", "--activated-at ISO"]),
        (("rewards",), ["--from DAY", "--to DAY", "--json Print one JSON value"]),
        (("status",), ["--timeout SECONDS"]),
    ],
)
def test_help_on_a_terminal_says_the_same(
    alone: CommandLine, arguments: tuple[str, ...], expected: list[str]
) -> None:
    answer = alone.run(*arguments, "--help", COLUMNS="200")
    assert (answer.code, answer.err) == (0, "")
    text = " ".join(re.sub(r"[│*]", " ", answer.out).split())
    assert [part for part in expected if part not in text] == []
    assert not re.search(r"<\w", text)
