"""What the commands share: the app, how they are stopped, and errors as one line on stderr, without a traceback."""

from __future__ import annotations

import functools
import importlib
import pkgutil
import signal
import sys
from collections.abc import Callable, Sequence
from types import FrameType
from typing import Any

import typer
from typer.core import TyperGroup

from uqkd import cli
from uqkd.errors import UqkdError, missing_library


class _ByName(TyperGroup):
    """Commands by name, whatever file was read first."""

    def list_commands(self, ctx: Any) -> list[str]:
        return sorted(super().list_commands(ctx))


app = typer.Typer(
    cls=_ByName, add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None, no_args_is_help=True
)

# Epilogs of the commands: what each needs installed, for its --help and for the error when that is missing.
STUDIES = "Needs: pip install 'uqkd[studies]'"
MODELS = "Needs: pip install 'uqkd[studies,torch,llm]'"

USAGE = 2  # exit code of a wrong command line or of any error that uqkd explains


class _Terminated(KeyboardInterrupt):
    """SIGTERM, handled like Ctrl-C but for the exit code."""


def stoppable(command: Callable[..., None]) -> Callable[..., None]:
    """Ctrl-C and SIGTERM end a command with one line that says how to go on, and with their usual exit codes."""

    @functools.wraps(command)
    def guarded(*arguments: Any, **options: Any) -> None:
        before = signal.signal(signal.SIGTERM, _terminate)
        try:
            command(*arguments, **options)
        except KeyboardInterrupt as stop:
            print(str(stop) or "interrupted; run the same command again to continue", file=sys.stderr)
            terminated = isinstance(stop, _Terminated) or isinstance(stop.__context__, _Terminated)
            raise typer.Exit(128 + (signal.SIGTERM if terminated else signal.SIGINT)) from None
        finally:
            signal.signal(signal.SIGTERM, before)

    return guarded


def _terminate(_signal: int, _frame: FrameType | None) -> None:
    raise _Terminated


@app.callback()
def _root() -> None:
    """Measure what knowledge distillation does to uncertainty, and repair it."""


def _explained(problem: Exception, called: str, needs: str) -> str:
    """The error in one line; empty if it is not one that uqkd explains, and its traceback is wanted."""
    if isinstance(problem, ModuleNotFoundError):
        extras = needs.partition("[")[2].partition("]")[0].split(",")
        return str(missing_library(called, problem, together=extras) or "")
    if isinstance(problem, UqkdError):
        return str(problem)
    if hasattr(problem, "format_message"):  # typer's own usage errors, whichever copy of click it brings
        return str(problem.format_message())
    if type(problem).__name__ == "ValidationError":  # pydantic's; it is not loaded for `--help`
        from uqkd.run.study import one_line

        return one_line(problem)  # type: ignore[arg-type]
    return ""


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of `uqkd` and of `python -m uqkd`; ends with `SystemExit`."""
    for file in pkgutil.walk_packages(cli.__path__, f"{cli.__name__}."):  # each adds its command to `app`
        importlib.import_module(file.name)
    command = typer.main.get_command(app)
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        code = command.main(args=words, prog_name="uqkd", standalone_mode=False)
    except Exception as problem:
        commands: dict[str, Any] = getattr(command, "commands", {})
        name = next((word for word in words if word in commands), "")
        if not (line := _explained(problem, f"uqkd {name}", commands[name].epilog or "" if name else "")):
            raise
        is_help = type(problem).__name__ == "NoArgsIsHelpError"  # the bare command shows how it is used
        print(line if is_help else "error: " + " ".join(line.split()), file=sys.stderr)
        code = USAGE
    raise SystemExit(code if isinstance(code, int) else 0)
