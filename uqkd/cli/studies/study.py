"""`uqkd study …`: measure what is missing, then draw the figures."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from uqkd.cli.app import STUDIES, USAGE, app, stoppable
from uqkd.cli.executing import AddressOption, DryRunOption, PriceOption, compare, show
from uqkd.errors import DataError, LibraryError, OptionError, SeedReuseError, UqkdError, WorkerError

if TYPE_CHECKING:
    from uqkd.run import Options, Study


@app.command(epilog=STUDIES)
@stoppable
def study(
    names: Annotated[
        list[str], typer.Argument(metavar="NAME_OR_FILE...", help="a file, a name of uqkd list, or 'all' in ./studies")
    ],
    preset: Annotated[str, typer.Option(help="quick, paper or full")] = "quick",
    out: Annotated[str, typer.Option(help="results folder or fsspec URL")] = "results",
    workers: Annotated[int | None, typer.Option(help="processes; default: one per core")] = None,
    executor: Annotated[str, typer.Option(help="local or ray")] = "local",
    data: Annotated[str | None, typer.Option(help="data set: a name or a file")] = None,
    target: Annotated[str | None, typer.Option(help="column of the data to predict")] = None,
    config: Annotated[Path | None, typer.Option(help="YAML file of options")] = None,
    settings: Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="one option")] = None,
    address: AddressOption = None,
    dry_run: DryRunOption = False,
    price_hour: PriceOption = None,
) -> None:
    """Run studies: measure what is missing, then draw the figures."""
    from uqkd import __version__
    from uqkd.report import claims
    from uqkd.report import page as gallery
    from uqkd.run import Run, Workers
    from uqkd.run.cluster import usable_cores
    from uqkd.run.dry_run import predict, study_key
    from uqkd.store import Store

    overrides = {**_from_file(config), **_from_flags(settings or [])}
    overrides |= {key: value for key, value in (("data", data), ("target", target)) if value is not None}
    plan = _planned(names, preset, overrides)
    if data is not None:
        _describe(data, target)
    failed: dict[str, str] = {}
    with Workers(workers if workers is not None else usable_cores(), executor=executor, address=address) as pool:
        store = Store(out)
        for loaded, options in plan:
            if dry_run:
                print(f"{loaded.name}:")
                show(predict(loaded, options, store, pool), store, study_key(loaded, options, pool), price_hour)
                continue
            about = {"preset": preset, "options": options.model_dump(mode="json"), "version": __version__}
            run = Run(loaded, store, workers=pool, settings=about)
            try:
                loaded.main(options, run)
            except (WorkerError, SeedReuseError) as problem:  # one study's cells failed: the others still run
                failed[loaded.name] = "error: " + " ".join(str(problem).split())
                print(failed[loaded.name], file=sys.stderr, flush=True)
                continue
            compare(store, study_key(loaded, options, pool), count=run.computed, seconds=run.seconds)
            claims.write(store)
            gallery.write(store)
            print(f"{loaded.name}: {run.computed} units computed, {run.reused} read from {store.root}", flush=True)
    if failed:
        if len(plan) > 1:  # said once more at the end, where it is seen
            print("\n".join([f"{len(failed)} of {len(plan)} studies failed:", *failed.values()]), file=sys.stderr)
        raise typer.Exit(USAGE)
    if not dry_run:
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
        for one in (study_names("studies") or study_names()) if name == "all" else [name]:
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
        raise OptionError("there are no studies in ./studies, and none came with uqkd. Give a file.")
    return plan


def _leave_out(study: str, problem: UqkdError, refused: list[UqkdError], asked: str) -> None:
    """Under 'all' a study that cannot run is noted; asked for by name it is an error."""
    if asked != "all":
        raise problem
    refused.append(problem)
    print(f"{study}: left out, {problem}", flush=True)


def _describe(name: str, target: str | None) -> None:
    """One line on one's own data before the work starts, so that an index taken for a feature is seen."""
    from uqkd.data.tabular.loading import load, short_name

    try:
        dataset = load(name, target=target)
    except UqkdError:
        return  # the study says what is wrong, or reads its data in a way of its own
    features = ", ".join(dataset.columns[:8]) + (", ..." if len(dataset.columns) > 8 else "")
    print(f"{short_name(name)}: {len(dataset.y):,} rows, features {features}; target {dataset.target}", flush=True)
    for column, values in zip(dataset.columns, dataset.X.T, strict=True):
        if len(set(values.tolist())) == len(values) and (values == values.round()).all():
            print(f"note: {column!r} holds a different whole number in every row; drop it if it only numbers the rows")


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
