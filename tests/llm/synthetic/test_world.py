"""The embedded world: what it promises of its questions holds for every one, and the same key makes the same world."""

import numpy as np
import pytest

from uqkd.errors import OptionError
from uqkd.llm import World
from uqkd.llm.synthetic.world import REFUSAL, Relation


@pytest.fixture(scope="module")
def world():
    return World.make(groups=6, entities=5, key=("test", "world"))


def test_answers_are_of_the_kind_and_length_promised(world):
    counts = {
        kind: {len(q.answers) for q in world.questions if q.relation.kind == kind} for kind in ("certain", "ambiguous")
    }
    assert counts == {"certain": {1}, "ambiguous": {2, 3, 4, 5}}
    assert {q.answers for q in world.questions if q.relation.kind == "unanswerable"} == {(REFUSAL,)}
    lengths = {len(answer.split()) for q in world.questions for answer in q.answers}
    assert lengths == {1, 2, 3, 4}


def test_probabilities_are_a_distribution_that_samples_can_show(world):
    for q in world.questions:
        assert len(set(q.answers)) == len(q.answers) == len(q.probabilities)
        assert sum(q.probabilities) == pytest.approx(1.0, abs=1e-12)
        assert min(q.probabilities) > 0.049  # 0.05, rounded to six decimals


def test_a_clan_shares_its_answers_and_entities_do_not(world):
    by_group = {}
    for q in world.questions:
        by_group.setdefault((q.relation.name, q.group), set()).add(q.answers)
    assert {len(found) for (relation, _), found in by_group.items() if relation == "food"} == {1}
    assert all(len(found) > 1 for (relation, _), found in by_group.items() if relation == "home")


def test_truth_is_that_of_the_questions_and_nothing_is_left_for_other_answers(world):
    prompts = world.prompts(phrasings=[2], relations=["home", "craft"])
    truth = world.truth(prompts)
    assert truth.shape == (60, 6)
    np.testing.assert_allclose(truth.sum(axis=1), 1.0, atol=1e-12)
    assert (truth[:, -1] == 0).all()
    for row, name, answers in zip(truth, prompts.ids, prompts.answers, strict=True):
        assert tuple(row[: len(answers)]) == world.question(name).probabilities
        assert not row[len(answers) :].any()


def test_halves_share_no_entity_and_phrasings_no_text(world):
    first, second = (world.prompts(relations=["home"], first=start, every=2) for start in (0, 1))
    assert len(first) + len(second) == 30
    assert not set(first.ids) & set(second.ids)
    ways = [set(world.prompts(phrasings=[way]).texts) for way in range(world.phrasings)]
    assert sum(map(len, ways)) == len(set.union(*ways))


def test_the_key_names_the_world(world):
    assert World.make(groups=6, entities=5, key=("test", "world")) == world
    assert World.make(groups=6, entities=5, key=("test", "other")) != world
    grown = World.make(groups=6, entities=5, key=("test", "world"), relations=[*world_relations(world), BIRD])
    assert grown.questions[: len(world.questions)] == world.questions  # another relation leaves the others as they were


BIRD = Relation("bird", "certain", "group", ("bird of {}", "what flies by {}", "{} sees what", "{} has bird"))


def world_relations(world):
    return list(dict.fromkeys(q.relation for q in world.questions))


def test_bad_worlds_are_refused(world):
    with pytest.raises(OptionError, match="groups >= 1"):
        World.make(groups=0, entities=1, key=("t",))
    with pytest.raises(OptionError, match="needs 20097 words; there are"):
        World.make(groups=20_000, entities=1, key=("t",))
    with pytest.raises(OptionError, match="kind"):
        World.make(groups=1, entities=1, key=("t",), relations=[Relation("a", "vague", "own", ("a of {}",))])
    with pytest.raises(OptionError, match=r"0 \.\.\. 3; got \[4\]"):
        world.prompts(phrasings=[4])
    with pytest.raises(OptionError, match="none of this world"):
        world.question("home/nobody/0")
