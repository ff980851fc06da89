"""The words that a page explains: statements of the theory, letters, methods and measures, and the papers they come from."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Paper:
    """A paper, and its identifier on arXiv where it has one."""

    name: str
    arxiv: str = ""

    @property
    def link(self) -> str:
        """Where it is read; empty without an identifier."""
        return f"https://arxiv.org/abs/{self.arxiv}" if self.arxiv else ""


@dataclass(frozen=True)
class Term:
    """A word and what it means. `pattern` finds it in a text, if not the word itself."""

    key: str
    name: str
    text: str
    pattern: str = ""
    papers: tuple[Paper, ...] = ()


PROPAGATED = Paper("Cui & Pei, How Is Uncertainty Propagated in Knowledge Distillation?", "2601.18909")
CUD = Paper(
    "Kim et al., Trust the Uncertain Teacher: Distilling Dark Knowledge via Calibrated Uncertainty", "2602.12687"
)
MIXUP_KD = Paper(
    "Medina et al., Beyond Dark Knowledge: Mixup-Based Distillation for Reliable Predictions", "2606.12171"
)
DISTILLING = Paper("Hinton, Vinyals & Dean (2015), Distilling the Knowledge in a Neural Network", "1503.02531")
MIXUP = Paper("Zhang et al. (2018), mixup: Beyond Empirical Risk Minimization", "1710.09412")
CALIBRATION = Paper("Guo et al. (2017), On Calibration of Modern Neural Networks", "1706.04599")
GRAYBILL_DEAL = Paper("Graybill & Deal (1959), Combining Unbiased Estimators, Biometrics 15")
COMPONENTS = Paper("Searle, Casella & McCulloch (1992), Variance Components, Wiley")

STATEMENTS = (
    Term("T1", "T1", "A least-squares student inherits the noise of the teacher's responses through the leverage h(x) of a "
         "row: students vary by (σ_T²/k)·h(x). The teacher's own estimation error is common to all its students, and no k "
         "removes it.", papers=(PROPAGATED,)),
    Term("T2", "T2", "The expected test error of a least-squares student is the teacher's plus (σ_T²/k) times a number that "
         "depends on the design alone: linear in the noise and in 1/k."),
    Term("T3", "T3", "What a student reports as its own variance: none if it only predicts a mean, σ_T²/k if it learnt from "
         "averages, σ_T² if it saw all responses or the average carries their spread along."),
    Term("T4", "T4", "Students that memorise k sampled answers keep 1 − 1/k of G_p within each and move 1/k of it between "
         "them. Together it stays G_p as long as students are right on average.", papers=(PROPAGATED,)),
    Term("T5", "T5", "Choosing the most central of k answers (the medoid) sharpens: from k = 3 on, mass moves to the "
         "teacher's likeliest answer. Training on all k answers does not."),
    Term("T6", "T6", "Two estimates are combined best with weights from their variances, their covariance and their biases. "
         "A source that learnt from the very draws it is combined with brings nothing.", papers=(PROPAGATED,)),
    Term("T7", "T7", "Weights from estimated variances (Graybill–Deal) stay unbiased for normal sources, but with few "
         "responses they can lose to the better source alone, and they claim less variance than they have.",
         papers=(GRAYBILL_DEAL,)),
    Term("T8", "T8", "How much networks vary: a floor from where they begin, which no k removes, and a part from the "
         "teacher's noise that falls as 1/k. Exact for a network without a hidden layer, a linearisation otherwise."),
    Term("T9", "T9", "Resampled training rows: with a teacher's noise-free answers every least-squares student of a "
         "full-rank resample equals the teacher; with true labels, and many rows, students vary as the sandwich formula says."),
    Term("T10", "T10", "The variance of student means overstates the variance between students, because R responses leave "
         "noise in each mean. Taking off a student's own variance over R makes it unbiased, and sometimes negative.",
         papers=(COMPONENTS,)),
    Term("T11", "T11", "In a balanced crossed design every source of randomness, and every interaction, has its own "
         "variance, and they add up to the total.", papers=(COMPONENTS,)),
    Term("T12", "T12", "How the precision of a quantity depends on prompts, students, teacher responses and answers; from it "
         "follows how a budget is best spent."),
)  # fmt: skip

WORDS = (
    Term("inter", "inter-student variance", "How much independently distilled students differ from one another: the "
         "variance, over students, of a student's mean answer.", r"[Ii]nter-student|between (?:independent )?students"),
    Term("intra", "intra-student variance", "How unsure one student is by itself: the variance of its own answers, averaged "
         "over students.", r"[Ii]ntra-student|within (?:one|a) student"),
    Term("kappa", "κ (kappa)", "Variance within and between students together, as a share of the teacher's: 1 where "
         "uncertainty has moved but none was lost or made up.", r"κ"),
    Term("Gp", "G_p", "Gini variance 1 − Σp² of a distribution p over answers or classes: the chance that two answers drawn "
         "from the teacher differ.", r"G_p|Gini variance"),
    Term("k", "k", "How many responses of the teacher to each prompt a student is trained on.", r"k"),
    Term("alpha", "α (alpha)", "Noise of the teacher: the variance of one response as a share of the variance of the labels, "
         "σ_T²/Var(y).", r"α"),
    Term("lambda", "λ (lambda)", "Of a mixed image, the share of the first of its two images. In T4, how far students are "
         "pulled from the answers they saw to the teacher's distribution.", r"λ"),
    Term("c", "c", "On mixed images, how firmly a teacher's answer is held to the two classes of the mixture: 0 leaves it as "
         "it is, 1 makes it the mixed labels. In T6, the covariance of two sources.", r"c(?= ?[=≤≥])"),
    Term("S", "S", "How many students are distilled, each independently of the others.", r"S(?= ?[=≤≥,])"),
    Term("P", "P", "How many prompts: rows, images or questions that students are judged on.", r"P(?= ?[=≤≥,])"),
    Term("R", "R", "How many answers are drawn from each student for each prompt when it is judged.", r"R(?= ?[=≤≥])|R(?=\))"),
    Term("noise", "σ_T²", "Variance of one response of the teacher around the teacher's mean.", r"σ_T²"),
    Term("leverage", "h(x)", "Leverage of a row x: how far noise of the training labels reaches a prediction there.",
         r"h\(x\)|leverage"),
    Term("floor", "V_init (floor)", "The variance between networks that remains however many responses are averaged: they "
         "began differently.", r"V_init|floor"),
    Term("epsilon", "ε (epsilon)", "How far students begin from one another: size of the perturbation of a common start.",
         r"ε"),
    Term("T", "T (temperature)", "What logits are divided by, in sampling from a teacher or in distilling from it: above 1 "
         "answers are flatter, below 1 sharper.", r"T(?= = \d)", (DISTILLING,)),
    Term("DUS", "DUS", "Difficulty-aware uncertainty shaping, the first half of CUD: the teacher is trained on so that it "
         "stays unsure where rows are hard.", papers=(CUD,)),
    Term("WClip", "W-Clip", "Wrong-mass clipping, the second half of CUD: where the teacher's likeliest class is wrong, part "
         "of its probability goes to the label.", papers=(CUD,)),
    Term("CUD", "CUD", "Calibrated uncertainty distillation: the teacher's uncertainty is shaped (DUS), then clipped "
         "(W-Clip), then distilled.", papers=(CUD,)),
    Term("mixup", "mixup", "Training on weighted averages of two inputs; in mixup-KD only the student's inputs are mixed, and "
         "the teacher is asked about them.", r"mixup-KD|[Mm]ixup", (MIXUP_KD, MIXUP)),
    Term("projection", "projection", "The distribution nearest the teacher's that keeps stated bounds on groups of classes "
         "and on entropy; solved exactly.", r"projections?", (CUD,)),
    Term("medoid", "medoid", "Of k responses the one whose meaning is nearest the average of all.", papers=(PROPAGATED,)),
    Term("multi", "multi", "Training on all k responses with weight 1/k each; with k = 1 it is called single."),
    Term("reranked", "reranked", "Of k responses the one nearest a centre that weights teacher and student by inverse variance: "
         "the published weighting of texts.", papers=(PROPAGATED,)),
    Term("precision", "precision", "The teacher's responses together with those of cross-fitted students, weighted by inverse "
         "variance."),
    Term("plugin", "plug-in", "An estimate that puts sample moments into a formula as they are, and is biased for it."),
    Term("ECE", "ECE", "Expected calibration error: how far confidence is from accuracy, averaged over groups of like "
         "confidence. Also above 0 for calibrated classifiers on finite data.", papers=(CALIBRATION,)),
    Term("NLL", "NLL", "Negative log-likelihood of the labels, in nats: lower is better.", r"NLL|likelihood"),
    Term("KL", "KL", "Kullback–Leibler divergence between two distributions, in nats; 0 only where they are equal."),
    Term("z", "z", "Simulation less prediction, in standard errors.", r"\|z\||z"),
    Term("preset", "preset", "Size of a run: quick takes minutes, paper has the published sizes, full the largest."),
)  # fmt: skip

TERMS = STATEMENTS + WORDS
