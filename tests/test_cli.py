"""The command line as a whole: every command has examples of its own, every argument a help text, mistakes one line."""

from __future__ import annotations

import argparse
import re
from importlib.metadata import version

import pytest

from sentalign import cli
from sharding.cli import main as sharding_main
from sharding.command_line import execute
from sharding.contract import UserError


def commands(parser, name="sentalign"):
    """(words of the command, its parser), for every one that can be run."""
    nested = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    if parser._defaults.get("command"):
        yield name, parser
    for action in nested:
        for word, inner in action.choices.items():
            yield from commands(inner, f"{name} {word}")


COMMANDS = dict(commands(cli._parser()))


def test_all_commands_are_there():
    assert len(COMMANDS) >= 12
    assert {"sentalign train", "sentalign shard build", "sentalign doctor hang"} <= COMMANDS.keys()


@pytest.mark.parametrize("name", COMMANDS)
def test_every_argument_has_a_help_text(name):
    actions = [
        a for a in COMMANDS[name]._actions if not isinstance(a, argparse._SubParsersAction | argparse._HelpAction)
    ]
    assert not [action.dest for action in actions if not action.help]


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_shows_examples_of_its_own_alone(name):
    lines = re.findall(r"^  (?:sentalign|deepspeed) .*$", COMMANDS[name].epilog or "", re.MULTILINE)
    own = [line for line in lines if line.strip().startswith(name)]
    assert own, "no example"
    longer = [other for other in COMMANDS if other.startswith(f"{name} ")]
    assert not [line for line in own if any(line.strip().startswith(other) for other in longer)]


@pytest.mark.parametrize("name", COMMANDS)
def test_help_is_printed(name, capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main([*name.split()[1:], "--help"])
    assert stop.value.code == 0
    assert "examples:" in capsys.readouterr().out


@pytest.mark.parametrize("name", [n for n in COMMANDS if "--run" in COMMANDS[n]._option_string_actions])
def test_run_folders_are_named_alike(name):
    assert COMMANDS[name]._option_string_actions["--run"].dest == "run"
    assert not [a.dest for a in COMMANDS[name]._actions if not a.option_strings and a.metavar == "RUN"]


def test_version(capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main(["--version"])
    assert (stop.value.code, capsys.readouterr().out) == (0, f"sentalign {version('sentalign')}\n")


def failing(error):
    def command(args):
        raise error

    return argparse.Namespace(command=command)


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (UserError("no such file; check the path"), 2, "error: no such file; check the path\n"),
        (KeyboardInterrupt(), 130, "interrupted\n"),
    ],
)
def test_mistakes_and_interrupts_are_one_line(error, code, line, capsys):
    assert execute(lambda: failing(error)) == code
    assert capsys.readouterr().err == line


def test_the_sharding_tool_alone_has_the_same_commands(capsys):
    with pytest.raises(SystemExit) as stop:
        sharding_main(["build", "--help"])
    assert stop.value.code == 0
    assert "--shard-images" in capsys.readouterr().out
