"""The embedded world as a testbed: trained once, kept whole, sampled into banks, and every study of language models runs on it."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from uqkd.llm.synthetic import testbed as embedded
from uqkd.llm.synthetic.testbed import Size
from uqkd.run import Run, load_study
from uqkd.stacked import Recipe
from uqkd.store import Store

pytestmark = pytest.mark.slow  # all wait for the models

STUDIES = Path(__file__).parents[3] / "studies"
SMALL = {"groups": 2, "entities": 4, "backend": "transformers"}


@pytest.fixture(scope="module")
def quick():
    """Small models, trained for long enough to know this small world."""
    short = {"optimiser": "adamw", "schedule": "cosine", "warmup": 10, "clip_norm": 1.0}
    models = (
        ("teacher", Size(32, 64, 2, 4), Recipe(steps=250, batch=64, lr=1e-2, **short), None),
        ("base", Size(16, 32, 1, 2), Recipe(steps=40, batch=32, lr=1e-2, **short), (3,)),
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(embedded, "_MODELS", models)
        patch.setattr(embedded, "STUDENT", Size(16, 32, 1, 2))
        yield


@pytest.fixture(scope="module")
def root(quick, tmp_path_factory):
    return tmp_path_factory.mktemp("bed")


@pytest.fixture(scope="module")
def testbed(root):
    return embedded.Testbed.open(root, groups=2, entities=4)


@pytest.mark.slow
def test_the_teacher_knows_its_world(testbed):
    for way in range(testbed.world.phrasings):
        prompts = testbed.world.prompts(phrasings=[way])
        p, truth = testbed.predict_proba(prompts), testbed.world.truth(prompts)
        assert p.shape == truth.shape
        assert p[:, -1].mean() < 0.05
        assert np.abs(p - truth).sum(axis=1).mean() < 0.2


@pytest.mark.slow
def test_at_a_url_the_models_are_trained_once_for_all_machines(quick, s3, monkeypatch, tmp_path):
    monkeypatch.setenv("UQKD_CACHE", str(tmp_path / "one"))
    first = embedded.Testbed.open(s3.root, groups=2, entities=4)
    monkeypatch.setenv("UQKD_CACHE", str(tmp_path / "another machine"))
    monkeypatch.setattr(embedded, "commit_folder", None)
    second = embedded.Testbed.open(s3.root, groups=2, entities=4)
    for part in ("teacher", "base"):
        name = f"{part}/model.safetensors"
        assert (second.folder / name).read_bytes() == (first.folder / name).read_bytes()
    assert second.folder != first.folder
    assert second.bank().root == f"{s3.root}/embedded/{second.folder.name}/bank-1"
    assert embedded.Testbed.at(second.folder).bank().root == second.bank().root


def test_opened_again_nothing_is_trained_and_a_damaged_model_is_trained_anew(testbed, root, monkeypatch, capsys):
    commit = embedded.commit_folder
    monkeypatch.setattr(embedded, "commit_folder", None)
    assert embedded.Testbed.open(root, groups=2, entities=4) == testbed == embedded.Testbed.at(testbed.folder)
    monkeypatch.setattr(embedded, "commit_folder", commit)
    file = testbed.base / "model.safetensors"
    whole = file.read_bytes()
    file.write_bytes(whole[:-1])
    assert embedded.Testbed.open(root, groups=2, entities=4) == testbed
    said = capsys.readouterr().err
    assert "does not match its hash; moved to quarantine" in said
    assert "base trained in" in said
    assert "teacher trained in" not in said
    assert file.read_bytes() == whole  # the same bits from the same key


def test_a_bed_draws_what_is_missing_and_its_fingerprint_is_that_of_the_responses_used(testbed):
    prompts, more = (testbed.world.prompts(relations=names) for names in (["home"], ["home", "food"]))
    first = testbed.draw(prompts, students=2, per_student=2, backend="transformers")
    assert testbed.draw(more, students=3, per_student=2, backend="transformers") != first
    assert (
        testbed.draw(prompts, students=2, per_student=2, backend="transformers") == first
    )  # what else is held does not count
    assert testbed.draw(prompts, students=2, per_student=2, temperature=0.5, backend="transformers") != first
    assert testbed.bank(0.5).root != testbed.bank().root


OPTIONS = {
    "llm_student_output": {"multi": [1, 2], "medoid": [4], "per_student": 4, "crowd": [5, 10]},
    "llm_teacher_noise": {"temperatures": [0.5, 1.0], "ks": [1, 2]},
    "llm_data_bootstrap": {"k": 2},
    "llm_initialisation": {"k": 2, "perturbations": [0.1]},
    "llm_variance_weighting": {"ks": [1, 4], "per_student": 4, "answers": 2, "pooled": True},
    # Students that know a little: of four answers of students that know nothing no two are ever equal, and nothing varies.
    "llm_sampled_estimates": {"ks": [1], "every": 2, "blocks": 20, "responses": 4, "steps": 80},
}
TRAINING = {"students": 3, "steps": 12, "batch": 8}


@pytest.mark.parametrize("name", OPTIONS)
def test_every_study_runs_on_it(name, root, testbed):
    """Students of a dozen steps know nothing: what is seen here is that every figure, table and caption is made."""
    study = load_study(name, folder=STUDIES)
    options = study.options(overrides={**SMALL, **TRAINING, **OPTIONS[name]})
    study.main(options, Run(study, Store(root)))
    assert (root / f"figures/{name}.png").is_file()
    table = pd.read_csv(root / f"tables/{name}.csv")
    assert {"quantity", "predicted", "simulated", "standard_error"} <= set(table.columns)
    assert np.isfinite(table["simulated"]).all()
    judged = table[table["statement"].notna()]
    assert (judged["z"].abs() < 5).all()  # what is judged are draws of the teacher, however little students know
    again = Run(study, Store(root))
    study.main(options, again)
    assert again.computed == 0
