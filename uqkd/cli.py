"""The command line: `uqkd study …` and `uqkd verify …`. Errors are one line on stderr, without a traceback."""

from __future__ import annotations

import functools
import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any

import typer

from uqkd.errors import DataError, LibraryError, OptionError, UqkdError, WorkerError

if TYPE_CHECKING:
    from uqkd.run import Options, Study

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None, no_args_is_help=True)

_USAGE = 2  # exit code of a wrong command line or of any error that uqkd explains


class _Terminated(KeyboardInterrupt):
    """SIGTERM, handled like Ctrl-C but for the exit code."""


def _stoppable(command: Callable[..., None]) -> Callable[..., None]:
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


@app.command()
@_stoppable
def study(
    names: Annotated[
        list[str], typer.Argument(metavar="NAME_OR_FILE...", help="a file, a name in ./studies, or 'all'")
    ],
    preset: Annotated[str, typer.Option(help="quick, paper or full")] = "quick",
    out: Annotated[str, typer.Option(help="results folder or fsspec URL")] = "results",
    workers: Annotated[int | None, typer.Option(help="processes; default: one per core")] = None,
    executor: Annotated[str, typer.Option(help="local or ray")] = "local",
    data: Annotated[str | None, typer.Option(help="data set: a name or a file")] = None,
    target: Annotated[str | None, typer.Option(help="column of the data to predict")] = None,
    config: Annotated[Path | None, typer.Option(help="YAML file of options")] = None,
    settings: Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="one option")] = None,
) -> None:
    """Run studies: measure what is missing, then draw the figures."""
    from uqkd import gallery
    from uqkd.run import Run, Workers
    from uqkd.store import Store

    overrides = {**_from_file(config), **_from_flags(settings or [])}
    overrides |= {key: value for key, value in (("data", data), ("target", target)) if value is not None}
    plan = _planned(names, preset, overrides)
    if data is not None:
        _describe(data, target)
    failed: list[str] = []
    with Workers(workers if workers is not None else _cores(), executor=executor) as pool:
        store = Store(out)
        for loaded, options in plan:
            run = Run(loaded, store, workers=pool)
            try:
                loaded.main(options, run)
            except WorkerError as problem:  # one study's cells failed: the others still run
                failed.append(loaded.name)
                print("error: " + " ".join(str(problem).split()), file=sys.stderr, flush=True)
                continue
            gallery.write(store)
            print(f"{loaded.name}: {run.computed} units computed, {run.reused} read from {store.root}", flush=True)
    if failed:
        raise typer.Exit(_USAGE)
    print(f"open {store.root}/index.html")


def _planned(names: Sequence[str], preset: str, overrides: dict[str, Any]) -> list[tuple[Study, Options]]:
    """Every study loaded and its options checked before the first one starts.

    Under 'all' an option goes to the studies that have it; one that no study has is an error. Studies that cannot use the
    given data, or need a library that is not installed, are left out with a word why; if none is left, the first says so.
    """
    from uqkd.run import load_study, study_names

    plan: list[tuple[Study, Options]] = []
    refused: list[UqkdError] = []
    for name in names:
        group = []
        for one in study_names() if name == "all" else [name]:
            try:
                group.append(load_study(one))
            except LibraryError as problem:
                _leave_out(one, problem, refused, name)
        fields = {one.name: type(one.options(preset)).model_fields for one in group}
        known = {key for of_study in fields.values() for key in of_study}
        for loaded in group:
            own = dict(overrides)
            if name == "all":
                if "data" in overrides and "data" not in fields[loaded.name]:
                    print(f"{loaded.name}: left out, it takes no data", flush=True)
                    continue
                own = {key: value for key, value in overrides.items() if key in fields[loaded.name] or key not in known}
            options = loaded.options(preset, own)
            try:
                if name == "all" and "data" in own:
                    loaded.module.cells(options)  # loads the data, and refuses what the study cannot use
            except DataError as problem:
                _leave_out(loaded.name, problem, refused, name)
            else:
                plan.append((loaded, options))
    if not plan and refused:
        raise refused[0]
    if not plan:
        raise OptionError("there are no studies in ./studies. Run this where that folder is, or give a file.")
    return plan


def _leave_out(study: str, problem: UqkdError, refused: list[UqkdError], asked: str) -> None:
    """Under 'all' a study that cannot run is noted; asked for by name it is an error."""
    if asked != "all":
        raise problem
    refused.append(problem)
    print(f"{study}: left out, {problem}", flush=True)


def _describe(name: str, target: str | None) -> None:
    """One line on one's own data before the work starts, so that an index taken for a feature is seen."""
    from uqkd import data

    try:
        dataset = data.load(name, target=target)
    except UqkdError:
        return  # the study says what is wrong, or reads its data in a way of its own
    features = ", ".join(dataset.columns[:8]) + (", ..." if len(dataset.columns) > 8 else "")
    print(
        f"{data.label({'data': name})}: {len(dataset.y):,} rows, features {features}; target {dataset.target}",
        flush=True,
    )
    for column, values in zip(dataset.columns, dataset.X.T, strict=True):
        if len(set(values.tolist())) == len(values) and (values == values.round()).all():
            print(f"note: {column!r} holds a different whole number in every row; drop it if it only numbers the rows")


@app.command("list")
def list_studies() -> None:
    """List the studies in ./studies: their questions and options."""
    from uqkd.run import load_study, study_names

    for name in study_names():
        try:
            loaded = load_study(name)
        except LibraryError as problem:
            print(f"{name}: {problem}")
            continue
        print(f"{loaded.name}: {loaded.question}")
        print(f"    {', '.join(f'{key}={value}' for key, value in loaded.options().model_dump(mode='json').items())}")


@app.command()
@_stoppable
def verify(
    results: Annotated[str, typer.Argument(help="results folder or fsspec URL")] = "results",
    quarantine: Annotated[bool, typer.Option("--quarantine", help="move the bad files to quarantine/")] = False,
) -> None:
    """Check every unit against its hash; list corrupt and foreign files. Figures and tables are made anew by a run."""
    from uqkd.store import Store

    store = Store(results, create=False)
    if not store.studies():
        raise OptionError(f"{results!r} holds no units; give the --out of an earlier run.")
    report = store.verify(move=quarantine)
    for path, reason in report.bad:
        print(f"bad: {path}: {reason}")
    moved = ", moved to quarantine" if quarantine and report.bad else ""
    print(f"{report.ok} units verified, {len(report.bad)} bad{moved}")
    if report.bad:
        raise typer.Exit(1)


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _from_file(config: Path | None) -> dict[str, Any]:
    if config is None:
        return {}
    import yaml

    try:
        values = yaml.safe_load(config.read_text(encoding="utf-8"))
    except OSError as problem:
        raise OptionError(f"--config {config}: {problem.strerror}. Give a YAML file of options.") from None
    except (yaml.YAMLError, UnicodeDecodeError) as problem:
        raise OptionError(f"--config {config} is not YAML: {' '.join(str(problem).split())}.") from None
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise OptionError(f"--config {config} holds a {type(values).__name__}; it must map option names to values.")
    return {str(key): value for key, value in values.items()}


def _from_flags(settings: Sequence[str]) -> dict[str, Any]:
    import yaml

    values = {}
    for setting in settings:
        key, equals, text = setting.partition("=")
        if not equals or not key:
            raise OptionError(f"--set got {setting!r}; write it as --set name=value.")
        try:
            values[key.strip()] = yaml.safe_load(text)
        except yaml.YAMLError:
            values[key.strip()] = text  # not YAML, so it can only be meant as text
    return values


def _explained(problem: Exception) -> str:
    """The error in one line; empty if it is not one that uqkd explains, and its traceback is wanted."""
    if isinstance(problem, UqkdError):
        return str(problem)
    if hasattr(problem, "format_message"):  # typer's own usage errors, whichever copy of click it brings
        return str(problem.format_message())
    if type(problem).__name__ == "ValidationError":  # pydantic's; it is not loaded for `--help`
        from uqkd.run.study import one_line

        return one_line(problem)  # type: ignore[arg-type]
    return ""


from uqkd import cli_llm, cli_students  # noqa: E402, F401  their commands join `app`


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of `uqkd` and of `python -m uqkd`; ends with `SystemExit`."""
    command = typer.main.get_command(app)
    try:
        code = command.main(args=arguments, prog_name="uqkd", standalone_mode=False)
    except Exception as problem:
        if not (line := _explained(problem)):
            raise
        is_help = type(problem).__name__ == "NoArgsIsHelpError"  # the bare command shows how it is used
        print(line if is_help else "error: " + " ".join(line.split()), file=sys.stderr)
        code = _USAGE
    raise SystemExit(code if isinstance(code, int) else 0)
