"""Fault 33: each theorem's check rejects at least two named wrong versions (run in tests/theory); here, the guard itself."""

import dataclasses

from uqkd.theory.checks import evaluate, register


def test_a_check_whose_prediction_is_broken_fails():
    """Every registered prediction, moved by three times the bias it must see, is rejected."""
    names = (
        "T1 inter-student variance at a point",
        "T3 variance reported from all raw responses",
        "T7 Graybill–Deal is unbiased",
    )
    for name in names:
        check = register()[name]
        size = abs(check.predicted) if check.scale is None else check.scale
        moved = check.predicted + 3 * check.bias * size
        broken = dataclasses.replace(check.without_wrong_versions(), predicted=moved)
        assert evaluate(broken)[0].rejected, name


def test_every_check_has_two_named_wrong_versions():
    for check in register().values():
        versions = [*check.wrong_theory, *check.wrong_simulation]
        assert len(versions) == len(set(versions)) >= 2, check.name
