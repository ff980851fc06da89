"""Teachers: three engines, one distribution; each draw depends on its own seed alone, and no engine has a say in how."""

from __future__ import annotations

import functools
import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import stats

from uqkd import seeds
from uqkd.errors import DataError, OptionError, WorkerError
from uqkd.llm.sampling import Sampling
from uqkd.llm.teachers import Request, complete, open_teacher
from uqkd.llm.teachers.decoding.next_token import choose

PROMPTS = ((4, 9), (20,), (7, 8, 30, 31, 5), (100, 101, 102))
ENGINES = ["transformers_teacher", "vllm_teacher", "server_teacher"]


@pytest.fixture(scope="session")
def server_teacher(vllm_server, tiny):
    teacher = open_teacher(tiny, backend="server", url=vllm_server, logprobs="processed")
    yield teacher
    teacher.close()


@pytest.fixture(params=ENGINES)
def teacher(request):
    return request.getfixturevalue(request.param)


def requests(count, *, name, prompts=PROMPTS):
    return [
        Request(prompts[i % len(prompts)], seeds.seed63("tests", "teachers", name, i, shared=True))
        for i in range(count)
    ]


@pytest.fixture(scope="module")
def next_token(transformers_teacher):
    """Exact probabilities of the next token after some ids, from one forward pass without cache or padding."""

    def probabilities(ids):
        with torch.inference_mode():
            logits = transformers_teacher._model(torch.tensor([list(ids)])).logits[0, -1]
        return torch.softmax(logits.double(), 0).numpy()

    return probabilities


def test_first_tokens_follow_the_models_own_distribution(teacher, next_token):
    """The model's generation_config asks for top_k=1 and temperature 0.01: an engine that follows it fails here."""
    count = 800 if "server" in teacher.about.backend else 2000
    drawn = complete(teacher, requests(count, name="law", prompts=PROMPTS[:1]), Sampling(max_tokens=1))
    exact = next_token(PROMPTS[0])
    seen = np.bincount([one.token_ids[0] for one in drawn], minlength=256)
    frequent = exact * count >= 5.0  # below an expected count of five the chi-square law is no good; those are one cell
    cells = np.append(np.flatnonzero(frequent), -1)
    expected = np.append(exact[frequent], exact[~frequent].sum()) * count
    observed = np.append(seen[frequent], seen[~frequent].sum())
    assert len(cells) > 20
    # 1e-6: three engines, fixed seeds; a false alarm once in a million choices of seeds.
    assert stats.chisquare(observed, expected).pvalue > 1e-6
    mutant = exact**1.3 / (exact**1.3).sum()  # a temperature of 0.77
    mutant = np.append(mutant[frequent], mutant[~frequent].sum()) * count
    assert stats.chisquare(observed, mutant).pvalue < 1e-6


def test_logprobs_are_those_of_the_sampled_distribution(teacher, next_token):
    for sampling in (Sampling(max_tokens=4), Sampling(temperature=2.0, max_tokens=4)):
        for request, one in zip(
            requests(4, name="logs"), complete(teacher, requests(4, name="logs"), sampling), strict=True
        ):
            ids = list(request.prompt_token_ids)
            for token, log in zip(one.token_ids, one.token_logprobs, strict=True):
                exact = next_token(ids) ** (1.0 / sampling.temperature)
                # 1e-4: float32 logits of two libraries differ by some 1e-6 of values up to ten.
                assert log == pytest.approx(float(np.log(exact[token] / exact.sum())), abs=1e-4)
                ids.append(token)


def test_a_draw_depends_on_its_seed_and_not_on_its_batch(teacher):
    asked = requests(24, name="batch")
    sampling = Sampling(max_tokens=8)
    together = complete(teacher, asked, sampling)
    # Rounding may differ with the batch: a token flips where two are within 1e-6 of one another, once in 1e5 or so.
    assert [one.token_ids for one in complete(teacher, asked[7:8], sampling)] == [together[7].token_ids]
    assert [one.token_ids for one in complete(teacher, asked[::-1], sampling)][::-1] == [
        one.token_ids for one in together
    ]
    logs = [one.token_logprobs for one in complete(teacher, asked[::-1], sampling)][::-1]
    for first, second in zip(logs, together, strict=True):
        assert first == pytest.approx(second.token_logprobs, abs=1e-4)
    fresh = complete(teacher, requests(24, name="other"), sampling)
    assert all(a.token_ids != b.token_ids for a, b in zip(fresh, together, strict=True))


def test_ends_are_kept_and_told(teacher, next_token):
    drawn = complete(teacher, requests(400, name="ends"), Sampling(max_tokens=12))
    stopped = [one for one in drawn if one.finish_reason == "stop"]
    assert 0 < len(stopped) < len(drawn)
    assert all(one.token_ids[-1] == 2 and 2 not in one.token_ids[:-1] for one in stopped)
    assert all(len(one.token_ids) == 12 and 2 not in one.token_ids for one in drawn if one.finish_reason == "length")
    assert all(len(one.token_ids) == len(one.token_logprobs) for one in drawn)
    assert all(one.text == teacher.encoder.decode(one.token_ids) and "</s>" not in one.text for one in drawn)


CUTS = [Sampling(top_k=3, max_tokens=1), Sampling(top_p=0.3, max_tokens=1), Sampling(min_p=0.1, max_tokens=1)]


@pytest.mark.parametrize("sampling", CUTS, ids=["top_k", "top_p", "min_p"])
def test_cuts_keep_the_same_tokens_in_every_engine(teacher, next_token, sampling):
    exact = next_token(PROMPTS[0])
    ranked = np.argsort(-exact)
    if sampling.top_k:
        kept = set(ranked[: sampling.top_k])
    elif sampling.top_p < 1:
        kept = set(ranked[: int((np.cumsum(exact[ranked]) < sampling.top_p).sum()) + 1])
    else:
        kept = set(np.flatnonzero(exact >= sampling.min_p * exact.max()))
    drawn = complete(teacher, requests(120, name="cuts", prompts=PROMPTS[:1]), sampling)
    seen = {one.token_ids[0] for one in drawn}
    assert len(seen) > 1
    assert seen <= kept
    mass = sum(exact[token] for token in kept)
    for one in drawn:
        assert one.token_logprobs[0] == pytest.approx(float(np.log(exact[one.token_ids[0]] / mass)), abs=1e-4)


def test_temperature_zero_takes_the_most_probable_token(teacher, next_token):
    drawn = complete(teacher, requests(8, name="cold"), Sampling(temperature=0.0, max_tokens=1))
    assert [one.token_ids[0] for one in drawn] == [int(next_token(PROMPTS[i % 4]).argmax()) for i in range(8)]


def test_repetition_penalty_is_passed_on(teacher):
    plain = complete(teacher, requests(60, name="again"), Sampling(max_tokens=16))
    never = complete(teacher, requests(60, name="again"), Sampling(max_tokens=16, repetition_penalty=50.0))
    repeats = [sum(len(one.token_ids) - len(set(one.token_ids)) for one in drawn) for drawn in (plain, never)]
    assert repeats[1] < repeats[0] / 3


def test_about_names_everything(teacher, tiny):
    from uqkd.llm.models.revision import model_revision

    about = teacher.about
    assert about.name == "tiny"
    assert about.revision == model_revision(tiny)
    assert about.logprobs == "processed"
    assert about.engine_version[0].isdigit()
    assert about.dtype == ("unknown" if about.backend == "server" else "float32")


def test_vllm_leaves_the_global_states_alone(vllm_teacher):
    before = torch.random.get_rng_state(), np.random.get_state()[1].tolist()  # noqa: NPY002
    complete(vllm_teacher, requests(4, name="states"), Sampling())
    assert torch.equal(before[0], torch.random.get_rng_state())
    assert before[1] == np.random.get_state()[1].tolist()  # noqa: NPY002
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # the engine's CPU worker replaces this by a function that does nothing
    assert torch.get_num_threads() == 1
    torch.set_num_threads(threads)


def test_seeds_that_share_their_low_32_bits_are_different_draws(transformers_teacher):
    asked = [Request(PROMPTS[0], 12345), Request(PROMPTS[0], 12345 + 2**32)]
    first, second = complete(transformers_teacher, asked, Sampling(max_tokens=8))
    assert first.token_ids != second.token_ids
    generators = [torch.Generator(), torch.Generator()]  # the fact that this guards against
    assert (
        len(
            {
                torch.rand(1, generator=g).item()
                for g, s in zip(generators, (5, 5 + 2**32), strict=True)
                if g.manual_seed(s)
            }
        )
        == 1
    )


def test_choose_inverts_the_cumulative_distribution_exactly():
    logits = np.log(np.tile([0.1, 0.2, 0.3, 0.4], (6, 1)))
    uniform = np.array([0.0, 0.0999, 0.1001, 0.2999, 0.3001, np.nextafter(1.0, 0.0)])
    tokens, logs = choose(logits, uniform, Sampling())
    assert tokens.tolist() == [0, 0, 1, 1, 2, 3]
    assert np.exp(logs) == pytest.approx([0.1, 0.1, 0.2, 0.2, 0.3, 0.4])
    tokens, _ = choose(logits, uniform, Sampling(top_k=2))
    assert set(tokens) == {2, 3}
    tokens, _ = choose(logits, uniform, Sampling(top_p=0.35))
    assert set(tokens) == {3}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"backend": "vlm"}, "did you mean 'vllm'"),
        ({"dtype": "float8"}, "dtype got 'float8'"),
        ({"device": "gpu"}, "device got 'gpu'"),
        ({"backend": "server"}, "'server' needs the server's url"),
        ({"backend": "vllm", "url": "http://127.0.0.1/v1"}, "backend 'vllm' has no option 'url'"),
        ({"backend": "transformers", "btach": 8}, "has no option 'btach'; did you mean 'batch'"),
        ({"backend": "server", "url": "127.0.0.1:8000"}, "write it as http://host:port/v1"),
        ({"backend": "transformers", "device": "cuda"}, "there is no GPU here"),
    ],
)
def test_wrong_options(tiny, options, message, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(OptionError, match=message):
        open_teacher(tiny, **options)


def test_a_closed_teacher_says_so(tiny):
    teacher = open_teacher(tiny, backend="transformers", dtype="float32", device="cpu")
    teacher.close()
    with pytest.raises(WorkerError, match="closed"):
        complete(teacher, requests(1, name="closed"), Sampling())


def test_adapter_draws_from_the_adapted_model(tiny, tmp_path, transformers_teacher):
    import peft
    from transformers import AutoModelForCausalLM

    base = AutoModelForCausalLM.from_pretrained(tiny)
    with seeds.torch_stream("tests", "adapter", shared=True):
        adapted = peft.get_peft_model(base, peft.LoraConfig(r=2, target_modules=["q_proj"], init_lora_weights=False))
    adapted.save_pretrained(tmp_path / "adapter")
    teacher = open_teacher(tmp_path / "adapter", backend="transformers", dtype="float32", device="cpu")
    greedy = Sampling(temperature=0.0, max_tokens=1)
    with torch.inference_mode():
        exact = int(adapted(torch.tensor([list(PROMPTS[2])])).logits[0, -1].argmax())
    assert complete(teacher, [Request(PROMPTS[2], 1)], greedy)[0].token_ids == (exact,)
    assert teacher.about.revision != transformers_teacher.about.revision


def without(teacher, name):
    """The teacher with a model whose forward pass never gets this argument."""
    forward = teacher._model.forward

    @functools.wraps(forward)  # generate looks at the signature
    def deaf(*args, **more):
        return forward(*args, **{key: value for key, value in more.items() if key != name})

    teacher._model.forward = deaf
    return teacher


def worst(drawn, asked, next_token):
    """The greatest error of a log-probability."""
    errors = []
    for request, one in zip(asked, drawn, strict=True):
        ids = list(request.prompt_token_ids)
        for token, log in zip(one.token_ids, one.token_logprobs, strict=True):
            errors.append(abs(log - float(np.log(next_token(ids)[token]))))
            ids.append(token)
    return max(errors)


def test_where_padding_changes_a_model_only_equal_lengths_are_drawn_together(tiny, next_token):
    asked, sampling = requests(8, name="padding"), Sampling(max_tokens=3)
    teacher = without(open_teacher(tiny, backend="transformers", dtype="float32", device="cpu"), "attention_mask")
    assert worst(complete(teacher, asked, sampling), asked, next_token) < 1e-4
    teacher._exact = replace(teacher._exact, pads=True)  # the mutant: all lengths together
    assert worst(complete(teacher, asked, sampling), asked, next_token) > 1e-2


def test_a_model_that_generate_computes_in_another_way_is_refused(tiny):
    """As transformers' RWKV, whose rows are wrong beside one another; here the cache is lost."""
    teacher = without(open_teacher(tiny, backend="transformers", dtype="float32", device="cpu"), "past_key_values")
    with pytest.raises(
        DataError, match=r"does not compute LlamaForCausalLM \('tiny'\) for two prompts together as in one"
    ):
        complete(teacher, requests(2, name="forgets"), Sampling())


def test_logits_that_are_not_finite_are_an_error_and_no_draw(tiny):
    teacher = open_teacher(tiny, backend="transformers", dtype="float32", device="cpu")
    complete(teacher, requests(1, name="finite"), Sampling())
    torch.nn.init.constant_(teacher._model.lm_head.weight, torch.nan)
    with pytest.raises(WorkerError, match="probabilities are not finite"):
        complete(teacher, requests(1, name="finite"), Sampling())


def test_requests_are_taken_as_there_is_room_for_them(tiny, monkeypatch):
    monkeypatch.setattr("uqkd.llm.teachers.backends.transformers._WINDOW", 8)
    taken = []
    asked = requests(100, name="stream")
    teacher = open_teacher(tiny, backend="transformers", dtype="float32", device="cpu", batch=3)
    answers = teacher.stream((taken.append(1) or one for one in asked), Sampling(max_tokens=2))
    places = [next(answers)[0]]
    assert len(taken) == 8
    places += [place for place, _ in answers]
    assert sorted(places) == list(range(100))
    assert all(set(places[i : i + 8]) == set(range(i, i + 8)) for i in range(0, 96, 8))


def test_a_checkpoint_in_bfloat16_is_drawn_from_in_bfloat16(tiny, tmp_path):
    from transformers import AutoModelForCausalLM

    path = tmp_path / "half"
    shutil.copytree(tiny, path)
    model = AutoModelForCausalLM.from_pretrained(tiny, dtype=torch.bfloat16)
    model.save_pretrained(path)
    teacher = open_teacher(path, backend="transformers", dtype="auto", device="cpu")
    assert teacher.about.dtype == "bfloat16"
    asked = requests(40, name="half")

    def probabilities(ids):
        with torch.inference_mode():
            return torch.softmax(model(torch.tensor([ids])).logits[0, -1].double(), 0).numpy()

    drawn = complete(teacher, asked, Sampling(max_tokens=4))
    # A rounding is 2**-9 of a logit up to 8; some 3 were seen of sums in another order: 8 of them are .125.
    assert worst(drawn, asked, probabilities) < 0.125
    whole = complete(
        open_teacher(tiny, backend="transformers", dtype="float32", device="cpu"), asked, Sampling(max_tokens=4)
    )
    assert [one.token_logprobs for one in whole] != [one.token_logprobs for one in drawn]


@pytest.mark.slow
def test_smollm2_draws_with_the_probabilities_of_one_plain_pass(smollm2):
    """A real chat model, with its template, prompts of several lengths and a tokenizer of one unused token more than rows."""
    from uqkd.llm.prompts import Prompts

    texts = ("Name a river.", "What is the capital of Peru? Answer in one word.", "Two plus two?")
    teacher = open_teacher(smollm2, backend="transformers", dtype="float32", device="cpu")
    ids = teacher.encoder.encode_prompts(Prompts(("a", "b", "c"), texts))
    asked = requests(6, name="real", prompts=ids)
    drawn = complete(teacher, asked, Sampling(max_tokens=8))
    assert len({tuple(one.token_ids) for one in drawn}) == len(drawn)
    for request, one in zip(asked, drawn, strict=True):
        row = torch.tensor([[*request.prompt_token_ids, *one.token_ids]])
        with torch.inference_mode():
            logs = torch.log_softmax(teacher._model(row).logits[0, len(request.prompt_token_ids) - 1 : -1].double(), -1)
        exact = logs.gather(1, torch.tensor(one.token_ids)[:, None])[:, 0].tolist()
        # float32 logits up to 30 through 30 layers: 12 roundings of 1e-7 were seen, 100 allowed.
        assert one.token_logprobs == pytest.approx(exact, abs=3e-4)
    teacher.close()


@pytest.mark.parametrize("backend", ["vllm", "transformers"])
def test_a_tokenizer_with_an_unused_token_beyond_the_models_rows_is_a_note_and_draws(tiny, tmp_path, backend):
    from uqkd.llm.prompts import Prompts

    path = tmp_path / "one more"
    shutil.copytree(tiny, path)
    made = json.loads((path / "tokenizer.json").read_text())
    made["added_tokens"].append({**made["added_tokens"][-1], "id": 256, "content": "[PAD]"})
    (path / "tokenizer.json").write_text(json.dumps(made))
    teacher = open_teacher(path, backend=backend, dtype="float32", device="auto" if backend == "vllm" else "cpu")
    rendered = teacher.encoder.render(Prompts(("a",), ("w1 w2",)), max_tokens=4)
    assert "no row for 1 tokens" in str(rendered.view)
    drawn = complete(teacher, requests(20, name="row", prompts=rendered.ids), Sampling(max_tokens=4))
    teacher.close()
    assert all(max(one.token_ids) < 256 for one in drawn)
