"""Students of language models: both trainers agree, adapters share one base, failures stay apart, saved students load."""

import numpy as np
import pytest
import torch

from bench.trainer import trainer_losses
from uqkd.errors import DataError, DivergedError, OptionError
from uqkd.llm import (
    Encoder,
    Lora,
    Prompts,
    Recipe,
    Response,
    Responses,
    Sampling,
    SeedDesign,
    TextTargets,
    World,
    distill,
    weigh,
)
from uqkd.llm.students.networks.initializer import Initializer
from uqkd.llm.students.networks.likelihood import SequenceLikelihood, only_supervised, row_table
from uqkd.llm.students.rows.training_rows import training_rows
from uqkd.llm.students.training.ways_to_train import Compute, Split, stacked_of, train_sequential
from uqkd.llm.synthetic.exact import answer_probabilities
from uqkd.llm.synthetic.testbed import Size, tokenizer
from uqkd.stacked import Stacked, train
from uqkd.stacked.randomness.orders import systematic
from uqkd.store import faults_of_folder

SIZE, STUDENTS = Size(16, 32, 2, 2), 3
RECIPE = Recipe(steps=12, batch=4, optimiser="adamw", lr=5e-3, clip_norm=1.0, schedule="cosine", weight_decay=0.01)


@pytest.fixture(scope="module")
def world():
    return World.make(groups=2, entities=2, key=("test", "students"))


@pytest.fixture(scope="module")
def encoder(world):
    coder = tokenizer(world)
    return Encoder(coder, False, vocabulary=len(coder), context=64, model_eos=(coder.eos_token_id,))


@pytest.fixture(scope="module")
def config(encoder):
    return SIZE.config(len(encoder.tokenizer))


def answers(world, encoder, k=2, students=STUDENTS):
    prompts = world.prompts(relations=["home", "food"])
    made = [
        encoder.response(text)
        for s in range(students) for options in prompts.answers for text in [options[(s + r) % len(options)] for r in range(k)]
    ]  # fmt: skip
    return Responses.gather(prompts, made, (students, len(prompts), k))


@pytest.fixture(scope="module")
def base(config, encoder, tmp_path_factory):
    from transformers import LlamaForCausalLM

    from uqkd import seeds

    folder = tmp_path_factory.mktemp("base")
    with seeds.torch_stream("test", "base"):
        LlamaForCausalLM(config).save_pretrained(folder)
    encoder.tokenizer.save_pretrained(folder)
    return folder


def trajectories(initializer, rows, begin):
    """Losses (steps, S) of the stacked trainer, step by step, and of transformers' Trainer."""
    stacked = []
    for steps in range(1, RECIPE.steps + 1):
        model = stacked_of(initializer, begin, key=("t",), dropout=range(STUDENTS), device="cpu")
        part = Recipe(steps=steps, batch=4, optimiser="adamw", lr=RECIPE.lr, clip_norm=1.0, weight_decay=0.01)
        rates = RECIPE.rates()[:steps]
        from uqkd.llm.students.networks.likelihood import weighted_loss

        done = train(
            model, rows.table(), rows.weights, part, loss=weighted_loss, orders=rows.orders[:, :steps], rates=rates
        )
        stacked.append(done.loss)
    alone = [
        trainer_losses(initializer.alone(begin[s]), rows, s, RECIPE, seed=0, device="cpu") for s in range(STUDENTS)
    ]
    return np.array(stacked), np.array(alone).T


def in_turn(initializer, rows, **compute):
    """Losses (steps, S) of the sequential trainer."""
    seen = np.full((RECIPE.steps, STUDENTS), np.nan)

    def watch(moment):
        s, batch = moment.student, rows.orders[moment.student, moment.step]
        seen[moment.step, s] = moment.loss * (rows.weights[s, batch] @ rows.learnt_tokens[batch]) / len(batch)

    train_sequential(
        initializer, Split(rows), RECIPE, levels=[(s, s, s) for s in range(STUDENTS)], key=("t", "b"),
        compute=Compute(**compute), finish=lambda *_: None, watch=watch, shared=True,
    )  # fmt: skip
    return seen


@pytest.mark.parametrize("lora", [None, Lora(rank=2)])
def test_all_trainers_follow_one_trajectory(world, encoder, config, base, lora):
    """Float32 rounds a loss of about 4 by 2e-7; Adam's first steps have unit size whatever the gradient, so differences of
    rounding in near-zero gradients grow to some 1e-5 within a dozen steps; a wrong rate or order is off by 1e-2."""
    initializer = Initializer.of(base if lora else config, lora=lora)
    seed_design = SeedDesign.independent(STUDENTS)
    rows = training_rows(
        weigh(answers(world, encoder), "multi"), encoder, recipe=RECIPE, seed_design=seed_design, key=("t",)
    )
    begin = [initializer.parameters(s, key=("t", "b"), adapter=s, shared=True) for s in range(STUDENTS)]
    stacked, alone = trajectories(initializer, rows, begin)
    assert stacked.shape == (RECIPE.steps, STUDENTS)
    assert np.ptp(stacked[0]) > 0  # students differ
    for other in (stacked, in_turn(initializer, rows), in_turn(initializer, rows, micro_batch=1)):
        off = np.abs(other - alone)
        assert off.max() < 2e-4
        assert off.mean() < 2e-5


def test_stacked_students_answer_as_they_do_alone(world, encoder, config):
    initializer = Initializer.of(config)
    begin = [initializer.parameters(s, key=("t", "alone"), adapter=s) for s in range(STUDENTS)]
    model = stacked_of(initializer, begin, key=("t",), dropout=range(STUDENTS), device="cpu")
    prompts = world.prompts(relations=["home"])
    together = answer_probabilities(model, encoder, prompts)
    for s in range(STUDENTS):
        alone = answer_probabilities(model.student(s).model, encoder, prompts)
        # The same float32 operations in products of another shape: some units in the last place of log-likelihoods near 20.
        np.testing.assert_allclose(together[s], alone[0], rtol=1e-4, atol=1e-12)


def test_exact_probabilities_are_those_of_the_plain_model(world, encoder, config):
    """Token by token with softmax, against the module; and all sequences of one token sum with the rest to one."""
    initializer = Initializer.of(config)
    model = initializer.alone(initializer.parameters(0, key=("t", "exact"), adapter=0)).model
    prompts = world.prompts(relations=["food"])
    for temperature in (1.0, 0.5):
        found = answer_probabilities(model, encoder, prompts, temperature=temperature)[0]
        np.testing.assert_allclose(found.sum(axis=1), 1.0, atol=1e-12)
        text, options = prompts.texts[0], prompts.answers[0]
        for place, answer in enumerate(options):
            ids = [
                *encoder.encode(text),
                *encoder.tokenizer(answer, add_special_tokens=False)["input_ids"],
                encoder.eos_id,
            ]
            begin = len(encoder.encode(text))
            with torch.no_grad():
                logs = (model(torch.tensor([ids])).logits[0].double() / temperature).log_softmax(-1)
            expected = sum(float(logs[t - 1, ids[t]]) for t in range(begin, len(ids)))
            assert found[0, place] == pytest.approx(np.exp(expected), rel=1e-4)


def test_padding_changes_nothing(encoder, config):
    model = SequenceLikelihood(Initializer.of(config).template.model).eval()
    row = ((1, 5, 6, 2), (False, False, True, True))
    long = ((1, 5, 6, 7, 8, 2), (False, False, True, True, True, True))
    with torch.no_grad():
        alone = model(torch.from_numpy(row_table([row])))
        padded = model(torch.from_numpy(row_table([row, long])))
    assert float(padded[0]) == pytest.approx(float(alone[0]), rel=1e-5)


def test_logits_that_no_row_needs_are_not_computed_and_change_nothing(encoder, config):
    """Of one model those of supervised tokens alone; of stacked students none before the first that any row supervises."""
    model = SequenceLikelihood(Initializer.of(config).template.model).eval()
    rows = row_table([((1, 5, 6, 2), (False, False, True, True)), ((1, 5, 6, 7, 8, 2), (False,) * 3 + (True,) * 3)])
    stacked = Stacked.of(model, 1).eval()
    seen = []
    for module in (model, stacked.body):
        module.model.lm_head.register_forward_hook(lambda module, given, made: seen.append(made.shape[:-1].numel()))
    with torch.no_grad():
        packed = model(torch.from_numpy(rows))
        whole = stacked(torch.from_numpy(rows))[0]
        with only_supervised(stacked.body, rows):
            fewer = stacked(torch.from_numpy(rows))[0]
        again = stacked(torch.from_numpy(rows))[0]
    assert seen == [
        2 * 2,  # a look at what follows the head, once
        2 + 3,
        2 * 5,
        2 * 4,
        2 * 5,
    ]  # of six tokens five are predicted; the first supervised one is the third
    np.testing.assert_allclose(packed, whole, rtol=1e-5)  # the same float32 products, in blocks of another size
    np.testing.assert_allclose(fewer, whole, rtol=1e-5)
    assert torch.equal(again, whole)


def test_weights_of_a_students_rows_are_its_responses(world, encoder):
    """Equal responses are one row with the sum of their weights; a student's own rows have mean weight one."""
    responses = answers(world, encoder, k=2, students=1)
    double = Responses(responses.prompts, responses.distinct, np.repeat(responses.index, 2, axis=2))
    one, two = (
        training_rows(weigh(r, "multi"), encoder, recipe=RECIPE, seed_design=SeedDesign.independent(1), key=("t",))
        for r in (responses, double)
    )
    np.testing.assert_allclose(one.shares, two.shares, rtol=1e-12)
    np.testing.assert_array_equal(one.table(), two.table())
    assert one.shares[0][one.shares[0] > 0].mean() == pytest.approx(1.0)
    assert set(one.weights.ravel()) == {1.0}
    single = training_rows(
        weigh(responses, "single"), encoder, recipe=RECIPE, seed_design=SeedDesign.independent(1), key=("t",)
    )
    assert (single.shares == 1.0).all()
    assert len(single.learnt) == len(responses.prompts)


def test_rows_come_as_often_as_their_shares_say():
    """Over a grid of offsets the mean count of every row is its share to the grid's step; in any epoch off by less than one."""
    shares = np.array([0.3, 2.45, 0.0, 1.0, 0.25, 2.0])
    counts = np.array([np.bincount(systematic(shares, u), minlength=6) for u in (np.arange(1000) + 0.5) / 1000])
    np.testing.assert_allclose(counts.mean(axis=0), shares, atol=2e-3)
    assert (np.abs(counts - shares) < 1.0).all()
    assert (counts.sum(axis=1) == 6).all()


def test_orders_take_rows_in_proportion_to_their_weights(world, encoder):
    prompts = world.prompts(relations=["craft"])
    ids = {
        w: tuple(encoder.tokenizer(w, add_special_tokens=False)["input_ids"])
        for w in (prompts.answers[0][0], "nobody knows")
    }
    made = [Response(token_ids, text) for _ in prompts.ids for text, token_ids in ids.items()]
    targets = TextTargets(
        Responses.gather(prompts, made, (1, len(prompts), 2)), np.tile([0.9, 0.1], (1, len(prompts), 1)), "own"
    )
    many = Recipe(steps=400, batch=4)
    rows = training_rows(targets, encoder, recipe=many, seed_design=SeedDesign.independent(1), key=("t", "orders"))
    taken = np.bincount(rows.orders.ravel(), minlength=rows.shares.shape[1]) / rows.orders.size
    # 200 epochs of 8: each count is its share to one an epoch at the most, and to 1/√(4·200) on average.
    np.testing.assert_allclose(taken * rows.shares.shape[1], rows.shares[0], atol=0.15)
    whole = training_rows(
        targets, encoder, recipe=Recipe(steps=3), seed_design=SeedDesign.independent(1), key=("t", "whole")
    )
    np.testing.assert_allclose(whole.weights, whole.shares)


def test_a_cut_response_is_not_taught_to_end(world, encoder):
    prompts = world.prompts(relations=["wish"]).select([0])
    cut = Responses.gather(prompts, [Response((5, 6), "a b", finished=False)], (1, 1, 1))
    with pytest.raises(DataError, match="none of 1 responses ends by itself"):
        training_rows(weigh(cut, "multi"), encoder, recipe=RECIPE, seed_design=SeedDesign.independent(1), key=("t",))
    ids, supervised = encoder.supervised((1, 4), Response((5, 6), "a b", finished=False))
    assert encoder.eos_id not in ids
    assert supervised == (False, False, True, True)


def test_a_memorised_answer_is_answered_and_ended(world, encoder, config):
    prompts = world.prompts(relations=["craft"])
    made = [
        Response(tuple(encoder.tokenizer(a[0], add_special_tokens=False)["input_ids"]), a[0]) for a in prompts.answers
    ]
    targets = weigh(Responses.gather(prompts, made, (1, len(prompts), 1)), "single")
    long = Recipe(steps=250, optimiser="adamw", lr=1e-2, clip_norm=1.0, schedule="cosine")
    students = distill(
        targets, student=config, encoder=encoder, recipe=long, seed_design=SeedDesign.independent(2), key=("t", "m")
    )
    assert students.predict_proba(prompts)[..., 0].min() > 0.9
    drawn = students.predict(prompts, 3, sampling=Sampling(max_tokens=6), key=("t", "draws"))
    assert drawn.shape == (2, len(prompts), 3)
    assert (
        np.mean([t == a[0] for s in range(2) for p, a in enumerate(prompts.answers) for t in drawn.texts(s, p)]) > 0.8
    )


def test_draws_follow_the_exact_probabilities(world, encoder, config):
    """Share of each answer in 4,000 draws per prompt against enumeration: |z| < 4.5, once in 7,000 for some 12 shares."""
    beginning_targets = weigh(answers(world, encoder, k=2, students=1), "multi")
    some = Recipe(steps=60, optimiser="adamw", lr=1e-2)
    students = distill(
        beginning_targets,
        student=config,
        encoder=encoder,
        recipe=some,
        seed_design=SeedDesign.independent(1),
        key=("t", "d"),
    )
    prompts, draws = world.prompts(relations=["food"]), 4_000
    exact = students.predict_proba(prompts)[0]
    drawn = students.predict(prompts, draws, sampling=Sampling(max_tokens=8), key=("t", "exact draws"))
    judged = 0
    for p, options in enumerate(prompts.answers):
        texts = drawn.texts(0, p)
        for c, answer in enumerate(options):
            share, q = texts.count(answer) / draws, exact[p, c]
            if 20 < q * draws < draws - 20:
                judged += 1
                assert abs(share - q) < 4.5 * np.sqrt(q * (1 - q) / draws)
    assert judged >= 4


def test_one_diverged_student_changes_no_bit_of_the_others(world, encoder, config):
    """Fault 17: a student with NaN targets fails at its step; the others are what they are without it."""
    initializer = Initializer.of(config)
    rows = training_rows(
        weigh(answers(world, encoder), "multi"),
        encoder,
        recipe=RECIPE,
        seed_design=SeedDesign.independent(STUDENTS),
        key=("t",),
    )
    begin = [initializer.parameters(s, key=("t", "fail"), adapter=s) for s in range(STUDENTS)]
    from uqkd.llm.students.networks.likelihood import weighted_loss

    kept = []
    for poison in (False, True):
        weights = rows.weights.copy()
        if poison:
            weights[1, rows.orders[1, 3, 0]] = np.nan
        model = stacked_of(initializer, begin, key=("t",), dropout=range(STUDENTS), device="cpu")
        done = train(model, rows.table(), weights, RECIPE, loss=weighted_loss, orders=rows.orders)
        kept.append({name: value.clone() for name, value in model.parameters_by_name().items()})
    assert done.failed_at[1] >= 0
    assert (done.failed_at[[0, 2]] == -1).all()
    for name, value in kept[0].items():
        assert torch.equal(value[[0, 2]], kept[1][name][[0, 2]])
        assert torch.isfinite(kept[1][name]).all()
    with pytest.raises(DivergedError, match="student 1 at step"):
        done.refuse_failed()


def test_fresh_students_begin_independently_and_perturbed_ones_near_one_beginning(base):
    """None and a number mean the same here as for networks: `uqkd.mlp.initialisation`."""
    name = "model.model.embed_tokens.weight"

    def begin(level, perturbation):
        initializer = Initializer.of(base, fresh=True, perturbation=perturbation)
        return initializer.parameters(level, key=("t", "fresh"), adapter=0)[name]

    assert not torch.equal(begin(0, None), begin(1, None))
    assert torch.equal(begin(0, 0.0), begin(1, 0.0))
    one, other = begin(0, 0.1), begin(1, 0.1)
    assert not torch.equal(one, other)
    assert float((one - other).std()) < 0.2 * float(one.std())  # √2 · ε of each parameter


def test_perturbed_students_begin_near_one_model(base):
    initializer = Initializer.of(base, perturbation=0.1)
    plain = Initializer.of(base).parameters(0, key=("t",), adapter=0)
    near = [initializer.parameters(level, key=("t",), adapter=0) for level in (0, 1)]
    name = "model.model.embed_tokens.weight"
    relative = (near[0][name] - plain[name]) / plain[name].abs()
    # 16 × V normal numbers of sd 0.1: the sample sd is within 10 % at far more than five standard errors.
    assert float(relative[plain[name] != 0].std()) == pytest.approx(0.1, rel=0.1)
    assert not torch.equal(near[0][name], near[1][name])
    again = Initializer.of(base, perturbation=0.1).parameters(0, key=("t",), adapter=0)
    assert torch.equal(again[name], near[0][name])


def test_adapters_share_one_frozen_base(base, world, encoder):
    students = distill(
        weigh(answers(world, encoder), "multi"), student=base, encoder=encoder, recipe=RECIPE,
        seed_design=SeedDesign.independent(STUDENTS),
        key=("t", "lora"), lora=Lora(rank=2),
    )  # fmt: skip
    one, other = students.student(0), students.student(1)
    frozen = {id(p) for p in one.parameters() if not p.requires_grad}
    assert frozen
    assert frozen == {id(p) for p in other.parameters() if not p.requires_grad}  # the very tensors, not copies
    moved = students.models.stacked.parameters_by_name()
    assert all("lora_" in name for name in moved)
    assert all(float(value.abs().sum()) > 0 for name, value in moved.items() if "lora_B" in name)  # B begins at zero


def test_saved_students_load_in_transformers(world, encoder, config, tmp_path):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    students = distill(
        weigh(answers(world, encoder), "multi"), student=config, encoder=encoder, recipe=RECIPE,
        seed_design=SeedDesign.independent(STUDENTS), key=("t", "save"),
    )  # fmt: skip
    folders = students.save(tmp_path)
    assert [folder.name for folder in folders] == ["student-0", "student-1", "student-2"]
    assert not any(path.suffix == ".bin" for folder in folders for path in folder.iterdir())
    prompts = world.prompts(relations=["home"])
    for s, folder in enumerate(folders):
        assert faults_of_folder(folder) == []
        loaded = AutoModelForCausalLM.from_pretrained(folder)
        np.testing.assert_allclose(
            answer_probabilities(loaded, Encoder.of(folder), prompts)[0], students.predict_proba(prompts)[s],
            rtol=1e-4, atol=1e-12,
        )  # fmt: skip
        assert AutoTokenizer.from_pretrained(folder).eos_token_id == encoder.eos_id


def test_what_contradicts_is_refused(config, base, world, encoder):
    with pytest.raises(OptionError, match="adapters need a trained base"):
        Initializer.of(config, lora=Lora())
    with pytest.raises(OptionError, match="perturbation must be"):
        Initializer.of(base, perturbation=-1.0)
    with pytest.raises(OptionError, match="targets are of 3 students, sources of 2"):
        training_rows(
            weigh(answers(world, encoder), "multi"),
            encoder,
            recipe=RECIPE,
            seed_design=SeedDesign.independent(2),
            key=("t",),
        )
    blank = Prompts(("a",), ("home of x y",))
    with pytest.raises(DataError, match="no reference answers"):
        answer_probabilities(Initializer.of(config).template.model, encoder, blank)
