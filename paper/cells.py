"""Numbers of the paper that stand in a cell of a study's table; those of a study's answer are named by the answer."""

from __future__ import annotations

from typing import Any

from paper.results import Cell

FLOOR = ("floor_low", "floor_high")
LOW_HIGH = ("low", "high")


def _networks(**names: tuple[str, Any, str]) -> dict[tuple[str, str], Cell]:
    where = {"data": "diabetes", "alpha": 0.1, "ks": "small"}
    return {
        ("mlp_response_averaging", name): Cell(where, value, form, limits, error=f"{value}_se", table="fits")
        for name, (value, limits, form) in names.items()
    }


def _weighting(**methods: str) -> dict[tuple[str, str], Cell]:
    where = {"data": "diabetes", "k": 5, "quantity": "student error"}
    return {
        ("variance_weighting", name): Cell({**where, "method": method}, limits="variance")
        for name, method in methods.items()
    }


def _models(method: str, k: int, asked: str, name: str, form: str = ".2f") -> dict[tuple[str, str], Cell]:
    where = {"asked": "each", "method": method, "k": k, "student": "transformer", "prompts": "training"}
    return {
        ("llm_student_output", f"{name} {quantity}"): Cell(
            {**where, "relation": asked, "quantity": quantity}, form=form, limits="variance", students="students"
        )
        for quantity in ("intra", "inter", "total")
    }


def _real(part: str, method: str, k: int) -> dict[tuple[str, str], Cell]:
    quantities = ("intra", "kappa") if method != "teacher" else ("intra",)
    return {
        ("llm_real", f"{part} {method} {k} {quantity}"): Cell(
            {"part": part, "method": method, "k": k, "quantity": quantity}, "estimate", limits=LOW_HIGH
        )
        for quantity in quantities
    }


def _claim(part: str, quantity: str, method: str) -> dict[tuple[str, str], Cell]:
    where = {"part": part, "quantity": quantity, "comparison": f"{method} less single"}
    cell = Cell(where, "estimate", "+.2f", LOW_HIGH, table="claims")
    return {("llm_real", f"{part} {quantity} {method.split()[0]}"): cell}


def _human(name: str, method: str, *, data: str, group: str, other: str) -> dict[tuple[str, str], Cell]:
    where = {"data": data, "rule": "labels", "group": group, "measure": "kl", "other": other, "method": method}
    cell = Cell(where, "difference", "+.3f", ("difference_half_width",))
    return {("classify_human", name): cell}


TRAP = {"group": 4}
CELLS: dict[tuple[str, str], Cell] = {
    ("response_averaging", "exponent at a half"): Cell(
        {"data": "diabetes", "alpha": 0.5, "what": "exponent"}, "estimate", ".3f", LOW_HIGH, table="fits"
    ),
    ("response_averaging", "floor at a half"): Cell(
        {"data": "diabetes", "alpha": 0.5, "what": "floor"}, "estimate", ".4f", LOW_HIGH, table="fits"
    ),
    **_networks(
        fitted_floor=("floor", FLOOR, ".4f"),
        noise_free=("noise_free", "variance", ".4f"),
        times=("times", "variance", ".1f"),
    ),
    ("mlp_teacher_noise", "least noise"): Cell(
        {"free": "all", "alpha": 1 / 7}, "amplification", ".1f", "variance", "amplification_se", table="relative"
    ),
    ("mlp_teacher_noise", "most noise"): Cell(
        {"free": "all", "alpha": 2.0}, "amplification", ".1f", "variance", "amplification_se", table="relative"
    ),
    ("mlp_data_bootstrap", "truth"): Cell(
        {"labels": "truth", "vary": "both", "fraction": 1.0}, form=".2f", limits="variance"
    ),
    ("mlp_data_bootstrap", "teacher"): Cell(
        {"labels": "teacher", "vary": "both", "fraction": 1.0}, form=".2f", limits="variance"
    ),
    **_weighting(known="fresh, known", same="same draws", equal="fresh, equal", counted="biased, counted"),
    **_weighting(published="oracle", double="average of 2k"),
    ("estimator_bias", "plug-in at two"): Cell({"data": "diabetes", "responses": 2, "estimator": "plug-in"}, form=".1f"),
    ("estimator_bias", "unbiased at two"): Cell({"data": "diabetes", "responses": 2, "estimator": "unbiased"}),
    **{
        ("intra_suppression", f"{head} {name}"): Cell(
            {"data": "diabetes", "k": 4, "head": head, "quantity": quantity}, form=form
        )
        for head in ("targets", "carried")
        for name, quantity, form in (
            ("reports", "intra-student variance", ".2f"),
            ("covers", "coverage of the 95 % interval", ".1%"),
        )
    },
    **{
        ("comparison_power", name): Cell(
            {"students": 10, "difference": 0.6, "pairs": pairs, "correlation": correlation}, "found", ".0%"
        )
        for name, pairs, correlation in (("unpaired", "False", 0.0), ("paired", "True", 0.7))
    },
    **_models("multi", 1, "home", "single", ".3f"),
    **_models("multi", 16, "home", "multi"),
    **_models("medoid", 16, "home", "medoid", ".3f"),
    **{
        ("llm_seed_traps", f"{seeding} {over}"): Cell({**TRAP, "seeding": seeding, "quantity": over}, form=".2f")
        for seeding, over in (("keyed", "per prompt"), ("consecutive", "per prompt"), ("broadcast", "prompt average"))
    },
    **{
        ("llm_variance_weighting", f"{method} at {k} {quantity}"): Cell(
            {"of": "responses", "relation": "home", "method": method, "k": k, "quantity": full},
            limits="variance" if quantity == "distance" else "mean",
            students="students",
        )
        for method, k in (("multi", 4), ("multi", 16), ("medoid", 16), ("precision", 4))
        for quantity, full in (("distance", "distance"), ("bias", "bias²"))
    },
    **{
        ("llm_data_bootstrap", name): Cell(
            {"bootstrap": resampled, "responses": responses, "relation": "home", "quantity": "inter"},
            limits="variance",
            students="students",
        )
        for name, resampled, responses in (
            ("same responses", "False", "same"),
            ("own responses", "False", "own"),
            ("resampled", "True", "same"),
        )
    },
    ("llm_initialisation", "independent"): Cell(
        {"perturbation": -1.0, "when": "after", "quantity": "inter"}, form=".4f", limits="variance", students="students"
    ),
    **_real("trained", "teacher", 0), **_real("trained", "single", 1), **_real("trained", "multi", 8),
    **_claim("trained", "repeated", "medoid 8"), **_claim("trained", "repeated", "reranked 8"),
    **_claim("trained", "unsupported", "medoid 8"),
    ("llm_real", "held out suppression"): Cell(
        {"part": "held out", "comparison": "single less the teacher"}, "estimate", "+.2f", LOW_HIGH, table="claims"
    ),
    **_human("smoothing", "label smoothing", data="tweets.csv", group="ambiguous", other="teacher"),
    **_human("CUD", "DUS + W-Clip", data="tweets.csv", group="ambiguous", other="teacher"),
    **_human("temperature", "teacher, temperature", data="tweets.csv", group="ambiguous", other="teacher"),
    **_human("CUD over all", "DUS + W-Clip", data="tweets.csv", group="all", other="teacher"),
    **_human("CUD, clear", "DUS + W-Clip", data="tweets.csv", group="clear", other="teacher"),
    **_human(
        "CUD against temperature", "DUS + W-Clip", data="tweets.csv", group="ambiguous", other="teacher, temperature"
    ),
    **_human(
        "CUD against temperature, editorials",
        "DUS + W-Clip",
        data="editorials.csv",
        group="ambiguous",
        other="teacher, temperature",
    ),
}  # fmt: skip
