"""Teachers: three engines, one distribution; each draw depends on its own seed alone, and no engine has a say in how."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats
from uqkd.llm.teachers.transformers import choose

from uqkd import seeds
from uqkd.errors import OptionError, WorkerError
from uqkd.llm.sampling import Sampling
from uqkd.llm.teachers import Request, open_teacher

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
    drawn = teacher.complete(requests(count, name="law", prompts=PROMPTS[:1]), Sampling(max_tokens=1))
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
            requests(4, name="logs"), teacher.complete(requests(4, name="logs"), sampling), strict=True
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
    together = teacher.complete(asked, sampling)
    # Rounding may differ with the batch: a token flips where two are within 1e-6 of one another, once in 1e5 or so.
    assert [one.token_ids for one in teacher.complete(asked[7:8], sampling)] == [together[7].token_ids]
    assert [one.token_ids for one in teacher.complete(asked[::-1], sampling)][::-1] == [
        one.token_ids for one in together
    ]
    logs = [one.token_logprobs for one in teacher.complete(asked[::-1], sampling)][::-1]
    for first, second in zip(logs, together, strict=True):
        assert first == pytest.approx(second.token_logprobs, abs=1e-4)
    fresh = teacher.complete(requests(24, name="other"), sampling)
    assert all(a.token_ids != b.token_ids for a, b in zip(fresh, together, strict=True))


def test_ends_are_kept_and_told(teacher, next_token):
    drawn = teacher.complete(requests(400, name="ends"), Sampling(max_tokens=12))
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
    drawn = teacher.complete(requests(120, name="cuts", prompts=PROMPTS[:1]), sampling)
    seen = {one.token_ids[0] for one in drawn}
    assert len(seen) > 1
    assert seen <= kept
    mass = sum(exact[token] for token in kept)
    for one in drawn:
        assert one.token_logprobs[0] == pytest.approx(float(np.log(exact[one.token_ids[0]] / mass)), abs=1e-4)


def test_temperature_zero_takes_the_most_probable_token(teacher, next_token):
    drawn = teacher.complete(requests(8, name="cold"), Sampling(temperature=0.0, max_tokens=1))
    assert [one.token_ids[0] for one in drawn] == [int(next_token(PROMPTS[i % 4]).argmax()) for i in range(8)]


def test_repetition_penalty_is_passed_on(teacher):
    plain = teacher.complete(requests(60, name="again"), Sampling(max_tokens=16))
    never = teacher.complete(requests(60, name="again"), Sampling(max_tokens=16, repetition_penalty=50.0))
    repeats = [sum(len(one.token_ids) - len(set(one.token_ids)) for one in drawn) for drawn in (plain, never)]
    assert repeats[1] < repeats[0] / 3


def test_about_names_everything(teacher, tiny):
    from uqkd.llm.revision import model_revision

    about = teacher.about
    assert about.name == "tiny"
    assert about.revision == model_revision(tiny)
    assert about.logprobs == "processed"
    assert about.engine_version[0].isdigit()
    assert about.dtype == ("unknown" if about.backend == "server" else "float32")


def test_vllm_leaves_the_global_states_alone(vllm_teacher):
    before = torch.random.get_rng_state(), np.random.get_state()[1].tolist()  # noqa: NPY002
    vllm_teacher.complete(requests(4, name="states"), Sampling())
    assert torch.equal(before[0], torch.random.get_rng_state())
    assert before[1] == np.random.get_state()[1].tolist()  # noqa: NPY002
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # the engine's CPU worker replaces this by a function that does nothing
    assert torch.get_num_threads() == 1
    torch.set_num_threads(threads)


def test_seeds_that_share_their_low_32_bits_are_different_draws(transformers_teacher):
    asked = [Request(PROMPTS[0], 12345), Request(PROMPTS[0], 12345 + 2**32)]
    first, second = transformers_teacher.complete(asked, Sampling(max_tokens=8))
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
        ({"backend": "vllm", "url": "http://127.0.0.1/v1"}, "the others take none"),
        ({"backend": "server", "url": "127.0.0.1:8000"}, "write it as http://host:port/v1"),
        ({"backend": "transformers", "device": "cuda"}, "there is no GPU here"),
    ],
)
def test_wrong_options(tiny, options, message):
    if options.get("device") == "cuda" and torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    with pytest.raises(OptionError, match=message):
        open_teacher(tiny, **options)


def test_a_closed_teacher_says_so(tiny):
    teacher = open_teacher(tiny, backend="transformers", dtype="float32", device="cpu")
    teacher.close()
    with pytest.raises(WorkerError, match="closed"):
        teacher.complete(requests(1, name="closed"), Sampling())


def test_adapter_draws_from_the_adapted_model(tiny, tmp_path, transformers_teacher):
    peft = pytest.importorskip("peft")
    from transformers import AutoModelForCausalLM

    base = AutoModelForCausalLM.from_pretrained(tiny)
    with seeds.torch_stream("tests", "adapter", shared=True):
        adapted = peft.get_peft_model(base, peft.LoraConfig(r=2, target_modules=["q_proj"], init_lora_weights=False))
    adapted.save_pretrained(tmp_path / "adapter")
    teacher = open_teacher(tmp_path / "adapter", backend="transformers", dtype="float32", device="cpu")
    greedy = Sampling(temperature=0.0, max_tokens=1)
    with torch.inference_mode():
        exact = int(adapted(torch.tensor([list(PROMPTS[2])])).logits[0, -1].argmax())
    assert teacher.complete([Request(PROMPTS[2], 1)], greedy)[0].token_ids == (exact,)
    assert teacher.about.revision != transformers_teacher.about.revision
    with pytest.raises(OptionError, match="is an adapter"):
        open_teacher(tmp_path / "adapter", backend="vllm")
