"""Parsing of the command line: help that fits the window, and one line per usage error."""

from __future__ import annotations

import inspect
import re
import sys
from typing import Any, cast

import typer
from typer.core import TyperCommand, TyperGroup

from benchbench.cli.errors import EXIT_BAD_INPUT, errors_as_lines
from benchbench.problems import Problem, nearest_name

_UsageError = cast("type[Exception]", typer.BadParameter.__base__)
"""A usage error; the class is click's, or with newer releases typer's own copy of it."""

_CHOICE = re.compile(r"'(?P<value>.*)' is not one of (?P<allowed>'.*')\.?")


class Command(TyperCommand):
    """A command whose errors are lines, and whose help has paragraphs as wide as the window, and no types of flags."""

    def __init__(self, *arguments: Any, help: str | None = None, **settings: Any) -> None:
        paragraphs = inspect.cleandoc(help or "").split("\n\n")
        super().__init__(*arguments, help="\n\n".join(" ".join(each.split()) for each in paragraphs), **settings)

    def invoke(self, ctx: Any) -> Any:
        """Run the command."""
        with errors_as_lines():
            return super().invoke(ctx)

    def get_params(self, ctx: Any) -> list[Any]:
        """Return options and arguments."""
        return _with_bare_flags(super().get_params(ctx))


class Commands(TyperGroup):
    """A group of commands whose usage errors are one line, with the nearest name."""

    def get_params(self, ctx: Any) -> list[Any]:
        """Return options and arguments."""
        return _with_bare_flags(super().get_params(ctx))

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Return name, command and the arguments that follow.

        Raises:
            Exit: There is no such command.
        """
        if ctx.resilient_parsing or args[0] in self.commands:
            return super().resolve_command(ctx, args)
        _show(Problem(f"no such command: {args[0]}", nearest=nearest_name(args[0], self.commands)), ctx)
        raise typer.Exit(EXIT_BAD_INPUT)

    def main(self, *arguments: Any, **settings: Any) -> Any:
        """Parse the arguments, run a command, and exit with its code."""
        try:
            code = super().main(*arguments, **{**settings, "standalone_mode": False})
        except _UsageError as error:
            if type(error).__name__ != "NoArgsIsHelpError":  # which has shown the help
                _show(_problem(error), getattr(error, "ctx", None))
            code = EXIT_BAD_INPUT
        sys.exit(code or 0)


def _show(problem: Problem, ctx: Any) -> None:
    helpless = ctx is not None and not problem.nearest and not problem.value
    typer.echo(f"error: {problem}{f'; see `{ctx.command_path} --help`' if helpless else ''}", err=True)


def _problem(error: Any) -> Problem:
    """Return a usage error as a problem, in the same words as problems of suites."""
    if hasattr(error, "possibilities"):
        options = error.ctx.command.get_params(error.ctx) if error.ctx else []
        known = {name.lstrip("-"): name for each in options for name in each.opts if name.startswith("-")}
        nearest = known.get(nearest_name(error.option_name.lstrip("-"), known) or "")
        return Problem(f"no such option: {error.option_name}", nearest=nearest)
    if getattr(error, "param", None) is None or hasattr(error, "param_type"):
        return Problem(_sentence(error.format_message().replace(". Choose from:", "; allowed:")))
    place = " / ".join(error.param.opts) if error.param.param_type_name == "option" else error.param.metavar
    choice = _CHOICE.fullmatch(error.message.removeprefix("Value error, "))
    if choice is None:
        cause: Any = error.__cause__  # without one, in older releases of typer, the message has the value
        given = str(cause.errors()[0]["input"]) if hasattr(cause, "errors") else ""
        return Problem(_sentence(error.message), file=place, value=given)
    value, allowed = choice["value"], re.findall("'(.*?)'", choice["allowed"])
    message = f"unknown value; allowed: {', '.join(allowed)}"
    return Problem(message, file=place, value=value, nearest=nearest_name(value, allowed))


def _sentence(text: str) -> str:
    """Return a message of typer's as part of a line."""
    joined = " ".join(text.split()).rstrip(".").replace("Input should be", "must be").partition(", unable to")[0]
    return joined[:1].lower() + joined[1:]


def _with_bare_flags(parameters: list[Any]) -> list[Any]:
    """Hide the type of parameters that take no value from the help, and return all of them."""
    for each in parameters:
        if getattr(each, "is_flag", False):
            each.metavar = ""
    return parameters
