"""The claims of the three papers that uqkd follows and of related work, as their abstracts state them, and what decides each.

What a claim says of a method is held against the method as its authors publish it; bounds say where else it is looked at. An
interval that meets a value leaves the condition open.
"""

from __future__ import annotations

from itertools import product

from uqkd.report.claims.rule import Claim, Condition, above, below

PROPAGATED = "Cui & Pei, arXiv 2601.18909"
CALIBRATED = "CUD, arXiv 2602.12687"
MIXED = "mixup-KD, arXiv 2606.12171"
RELATED = "related work"

PARTS, METHODS = ("trained", "held_out"), ("multi", "medoid", "reranked", "precision")
SUPPRESSES = "single-response distillation suppresses intra-student variance"
LEAVES = "it leaves substantial inter-student variability"
AVERAGES = "averaging k responses reduces noise at rate 1/k"
WEIGHTS = "inverse-variance weighting gives a minimum-variance estimator"
FLOOR = 0.01  # share of the variance of one response, or of Var y, below which a floor is none
HALF = 0.5  # of the teacher's variance: what is above is most of it


def _lower(quantity: str) -> tuple[Condition, ...]:
    """Of the real model: each way to average or weigh less one response, on both parts."""
    return tuple(below(f"{part}_{quantity}_{method}_less_single") for part, method in product(PARTS, METHODS))


_PROPAGATION = (
    Claim(
        SUPPRESSES, PROPAGATED, "student_output",
        "{intra_training_few} kept from {few} sampled label on training prompts, {intra_training_many} from {many}",
        (below("intra_training_few", "intra_training_many"),), (below("intra_test_few", "intra_test_many"),),
    ),
    Claim(
        SUPPRESSES, PROPAGATED, "llm_student_output",
        "{one_intra} of G_p kept once memorised, {many_intra} from {k} responses; {early_intra} while it still generalises",
        (below("one_intra", "many_intra"),), (below("early_intra", HALF),),
    ),
    Claim(
        SUPPRESSES, PROPAGATED, "llm_real",
        "on trained questions {trained_intra_single_less_teacher} against the teacher, on held-out ones "
        "{held_out_intra_single_less_teacher}",
        (below("trained_intra_single_less_teacher"), below("trained_intra_single_less_multi")),
        (below("held_out_intra_single_less_teacher"), below("held_out_intra_single_less_multi")),
    ),
    Claim(
        LEAVES, PROPAGATED, "llm_student_output", "{one_inter} of G_p moves between students of one response",
        (above("one_inter", HALF),),
    ),
    Claim(
        LEAVES, PROPAGATED, "llm_real",
        "{trained_single_inter} between students of one response, {trained_multi_inter} of {k}; held out {held_out_single_inter} "
        "and {held_out_multi_inter}",
        (above("trained_single_inter", "trained_multi_inter"),), (above("held_out_single_inter", "held_out_multi_inter"),),
    ),
    Claim(
        AVERAGES, PROPAGATED, "response_averaging", "exponent {exponent}, floor {floor}",
        (Condition("exponent", -1.05, -0.95),), (below("floor", FLOOR),),
    ),
    Claim(
        AVERAGES, PROPAGATED, "mlp_response_averaging", "{left_high} left at the largest k, a floor of {floor} Var y",
        (below("left_high", HALF),), (below("floor", 0.0001),),
    ),
    Claim(
        AVERAGES, PROPAGATED, "llm_student_output",
        "{one_inter} of G_p between students of one response, {many_inter} of {k}: {rate} times 1/k",
        (Condition("rate", 0.5, 2.0),),
    ),
    Claim(
        WEIGHTS, PROPAGATED, "variance_weighting",
        "{student_least} to {student_most} off the students' error, {equal_most} with equal weights; a biased source leaves "
        "{counted_least} of it or more",
        (above("student_least"),), (above("student_least", "equal_least"), below("counted_least", 1.0)),
    ),
    Claim(
        WEIGHTS, PROPAGATED, "mlp_variance_weighting",
        "{counted_few} of averaging's error at k = {k_few}, {counted_last} at {k_last}; of the same draws {same_last}",
        (below("counted_few", 1.0),), (below("counted_last", 1.0), below("same_last", 1.0)),
    ),
    Claim(
        WEIGHTS, PROPAGATED, "llm_variance_weighting",
        "of texts (reranking): squared distance {reranked_less_low} and {reranked_less_high} against 1/k (k = {low}, {high})",
        (below("reranked_less_low"), below("reranked_less_high")),
    ),
    Claim(
        "averaging and weighting reduce systematic noise", PROPAGATED, "llm_real",
        "the teacher's own mistakes by {trained_repeated_medoid_less_single} with the medoid (the published averaging of texts), "
        "by {trained_repeated_reranked_less_single} with reranking (the published weighting), by "
        "{trained_repeated_multi_less_single} with weight 1/k on all responses",
        _lower("repeated"),
    ),
    Claim(
        "averaging and weighting reduce hallucination", PROPAGATED, "llm_real",
        "unsupported answers by {trained_unsupported_medoid_less_single} with the medoid, held out by "
        "{held_out_unsupported_medoid_less_single}",
        _lower("unsupported"),
    ),
    Claim(
        "variance-aware students better reflect the teacher's uncertainty", PROPAGATED, "llm_student_output",
        "{many_intra} of G_p kept with weight 1/k on {k} responses, {medoid_intra} with the medoid of {chosen}",
        (above("many_intra", HALF), above("medoid_intra", HALF)),
    ),
)  # fmt: skip

_CALIBRATION = (
    Claim(
        "its students are more accurate", CALIBRATED, "classify_cud",
        "accuracy against plain distillation {cud_accuracy_0} points on the first task, {cud_accuracy_1} on the second",
        (above("cud_accuracy_0"), above("cud_accuracy_1")),
    ),
    Claim(
        "clipping of wrong mass alone makes them more accurate", CALIBRATED, "classify_cud",
        "{clip_accuracy_0} and {clip_accuracy_1} points; {clip_fired_0} and {clip_fired_1} of rows are changed",
        (above("clip_accuracy_0"), above("clip_accuracy_1")),
    ),
    Claim(
        "its targets are calibrated rather than sharpened", CALIBRATED, "classify_targets",
        "nearer to the true posterior in {cud_nearer_clean} of {settings_clean} settings, farther in {cud_farther_clean}",
        (above("cud_nearer_clean", "cud_farther_clean"),),
    ),
    Claim(
        "more calibrated under shift", CALIBRATED, "classify_shift",
        "lower ECE than plain distillation in {cud_ece_below} of {cud_ece_of} parts, higher in {cud_ece_above}",
        (above("cud_ece_below", "cud_ece_above"),), (below("cud_accuracy_below", 1.0),),
    ),
    Claim(
        "more reliable on ambiguous inputs", CALIBRATED, "classify_shift",
        "nearer to the truth than plain distillation in {cud_kl_below} of {cud_kl_of} parts, farther in {cud_kl_above}",
        (above("cud_kl_below", "cud_kl_above"),),
    ),
    Claim(
        "more reliable on ambiguous inputs", CALIBRATED, "classify_human",
        "KL(raters ‖ student) on the most divided texts of two files {ambiguous_cud_less_plain_0} and {ambiguous_cud_less_plain_1} "
        "nats against plain distillation, {ambiguous_cud_less_scale_0} and {ambiguous_cud_less_scale_1} against a temperature",
        (below("ambiguous_cud_less_plain_0"), below("ambiguous_cud_less_plain_1")),
        (below("ambiguous_cud_less_scale_0"), below("ambiguous_cud_less_scale_1")),
    ),
    Claim(
        "more reliable on long-tail inputs", CALIBRATED, "classify_shift",
        "{cud_classes_better} classes better than with plain distillation, {cud_classes_worse} worse",
        (above("cud_classes_better", "cud_classes_worse"),),
    ),
)  # fmt: skip

_MIXUP = (
    Claim(
        "students are more linear than their teacher, beyond what it transfers", MIXED, "classify_mixup",
        "than the teacher in {nonlinearity_below_teacher} of {nonlinearity_settings} settings; than plain distillation in "
        "{nonlinearity_below_plain}, less so in {nonlinearity_above_plain}",
        (above("nonlinearity_below_teacher", "nonlinearity_above_teacher"),),
        (above("nonlinearity_below_plain", "nonlinearity_above_plain"),),
    ),
    Claim(
        "they are less overconfident", MIXED, "classify_mixup",
        "confidence − accuracy below plain distillation's in {gap_below_plain} settings, above in {gap_above_plain}",
        (above("gap_below_plain", "gap_above_plain"),),
    ),
    Claim(
        "they are more accurate", MIXED, "classify_mixup",
        "than plain distillation in {accuracy_above_plain} settings, less in {accuracy_below_plain}",
        (above("accuracy_above_plain", "accuracy_below_plain"),),
    ),
    Claim(
        "calibration passes from teacher to student independently of accuracy", MIXED, "classify_calibration",
        "slope of the student's gap on the teacher's {least} to {most}; {apart} of {gaps} gaps differ",
        (Condition("least", HALF, 1.5), Condition("most", HALF, 1.5)), (below("apart", 1.0),),
    ),
    Claim(
        "the temperature trades accuracy for calibration", MIXED, "classify_temperature",
        "per doubling of T accuracy changes by {accuracy_plain} points, ECE by {ece_plain}",
        (below("accuracy_plain"), below("ece_plain")),
    ),
    Claim(
        "mixup makes that trade more pronounced", MIXED, "classify_temperature",
        "accuracy per doubling with mixup less that without: {accuracy_mixup_less_plain} points",
        (below("accuracy_mixup_less_plain"),),
    ),
)  # fmt: skip

_RELATED = (
    Claim(
        "what a target gains on average single classes pay for", RELATED, "classify_shift",
        "classes that CUD predicts worse than plain distillation: {cud_classes_worse}; the projection of bounded entropy: "
        "{bounded_classes_worse}",
        (above("cud_classes_worse"), above("bounded_classes_worse")),
    ),
    Claim("on-policy distillation ends overconfident", RELATED),
)  # fmt: skip

CLAIMS: tuple[Claim, ...] = (*_PROPAGATION, *_CALIBRATION, *_MIXUP, *_RELATED)
