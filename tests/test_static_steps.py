"""Steps of fixed shapes: the tokens of the plain path, in recordings that are replayed, and under torch.compile."""

import copy
import gc
import itertools
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from types import SimpleNamespace
from typing import Any

import peers
import pytest
import torch
import transformers
from recorder import Taped
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

import conjoin
from conjoin import CompileConfig, ConjoinError, EncoderDecoderModel, GenerationConfig, InputError
from conjoin.decoding.stream import streams
from conjoin.static import decoder as static_decoders
from conjoin.static import pool as pools
from conjoin.static import runners
from conjoin.static.program import Shape

STATIC = {"cache_implementation": "static"}
TINY = {"vocab": (17, 17)}  # so that the end comes early, and in each row at another step
MODES: dict[str, dict[str, Any]] = {
    "greedy": {},
    "rules": {"repetition_penalty": 1.3, "no_repeat_ngram_size": 2, "min_length": 5},
    "sample": {"do_sample": True, "num_return_sequences": 3},
    "beams": {"num_beams": 4},
    "beam_sample": {"num_beams": 3, "do_sample": True, "num_return_sequences": 2},
    "groups": {"num_beams": 4, "num_beam_groups": 2, "diversity_penalty": 0.7},
    "constrained": {"num_beams": 3, "force_words_ids": [[9, 8]]},
    "contrastive": {"penalty_alpha": 0.5, "top_k": 4},
    "guided": {"guidance_scale": 1.5, "negative_prompt_ids": torch.tensor([[7, 8, 9]])},
    "guided_beams": {"guidance_scale": 1.5, "negative_prompt_ids": torch.tensor([[7, 8, 9]]), "num_beams": 3},
}
every_mode = pytest.mark.parametrize("settings", MODES.values(), ids=MODES)


@pytest.fixture(autouse=True)
def taped(monkeypatch: pytest.MonkeyPatch) -> None:
    """A CPU on which steps are recorded as on a GPU."""
    monkeypatch.setattr(static_decoders, "records", lambda device: True)
    monkeypatch.setattr(pools, "runner_for", lambda device: Taped)
    monkeypatch.setattr(Taped, "made", 0)
    monkeypatch.setattr(Taped, "replays", 0)


def both(model: Any, given: dict[str, Any], **settings: Any) -> tuple[Any, Any]:
    """What plain steps and recorded ones write, from one random state each."""
    found = []
    for how in ({}, STATIC):
        torch.manual_seed(5)
        found.append(model.generate(**{**given, "max_new_tokens": 13, **settings, **how}))
    return found[0], found[1]


@every_mode
def test_replayed_steps_write_the_tokens_of_plain_ones(peer: Any, settings: dict[str, Any]) -> None:
    for encoder, decoder in (("bert", "gpt2"), ("roberta", "roberta"), ("bart", "bart")):
        pair = peer(encoder, decoder, **TINY)
        plain, static = both(pair.ours, peers.source(pair, rows=6), eos_token_id=[4, 7, 11], **settings)
        assert plain.tolist() == static.tolist()
    assert Taped.replays > 20


def test_prompts_padded_ones_and_seeds_too(peer: Any) -> None:
    for decoder in ("roberta", "bart"):
        pair = peer("bert", decoder, **TINY)
        prompt = peers.target(pair, rows=6, length=4)
        mask = torch.ones_like(prompt)
        mask[1, :2], mask[4, :1] = 0, 0
        asked = {"decoder_input_ids": prompt.masked_fill(mask == 0, pair.pad), "decoder_attention_mask": mask}
        for settings in ({}, {"num_beams": 3}, {"do_sample": True, "seed": 3}):
            plain, static = both(pair.ours, peers.source(pair, rows=6), **asked, **settings)
            assert plain.tolist() == static.tolist()


def test_scores_and_the_returned_cache_are_those_of_plain_steps(peer: Any) -> None:
    pair = peer("bert", "gpt2", **TINY)
    asked = {"num_beams": 3, "return_dict_in_generate": True, "output_scores": True, "output_logits": True}
    plain, static = both(pair.ours, peers.source(pair, rows=5), **asked)
    assert peers.near(plain.sequences_scores, static.sequences_scores, 1e-5)
    for name in ("scores", "logits"):
        assert len(plain[name]) == len(static[name]) > 3
        assert all(torch.allclose(a, b, atol=1e-4) for a, b in zip(plain[name], static[name], strict=True))
    kept = static.past_key_values.own[0][0].clone()
    assert torch.allclose(plain.past_key_values.own[0][0], kept, atol=1e-5)
    pair.ours.generate(**peers.source(pair, rows=5, seed=9), **asked, **STATIC)  # in the same buffers
    assert torch.equal(static.past_key_values.own[0][0], kept)


KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "rotary, grouped heads": ("LlamaConfig", {"num_key_value_heads": 2, "intermediate_size": 24}),
    "near tokens, capped": ("Gemma2Config", {"num_key_value_heads": 1, "head_dim": 8, "sliding_window": 4}),
    "learned distances": ("T5Config", {"d_model": 16, "d_kv": 4, "d_ff": 24, "num_layers": 2, "num_heads": 4}),
    "slopes": ("BloomConfig", {"n_layer": 2, "n_head": 4}),
    "two streams": ("ProphetNetConfig", {"num_decoder_layers": 2, "num_decoder_attention_heads": 4}),
    "sinusoids": ("MarianConfig", {"d_model": 16, "decoder_layers": 2, "decoder_attention_heads": 4}),
}


def joined(name: str, sizes: dict[str, Any]) -> EncoderDecoderModel:
    """A BERT with a decoder of a family, random weights."""
    torch.manual_seed(1)
    small = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 24}
    source = conjoin.BertConfig(**small, vocab_size=19)
    known = getattr(conjoin, name).__dataclass_fields__
    target = getattr(conjoin, name)(**{n: v for n, v in {**small, **sizes, "vocab_size": 17}.items() if n in known})
    model = EncoderDecoderModel(config=conjoin.EncoderDecoderConfig.from_encoder_decoder_configs(source, target)).eval()
    peers.randomise(model, 3)
    for setting, value in {"decoder_start_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}.items():
        setattr(model.generation_config, setting, value)
    return model


@pytest.mark.parametrize(("name", "sizes"), KINDS.values(), ids=KINDS)
def test_every_kind_of_position_and_attention(name: str, sizes: dict[str, Any]) -> None:
    model = joined(name, sizes)
    given = {"input_ids": torch.randint(3, 19, (5, 7), generator=torch.Generator().manual_seed(2))}
    given["attention_mask"] = (torch.arange(7)[None] < torch.tensor([7, 3, 6, 5, 2])[:, None]).long()
    for settings in ({}, {"num_beams": 3}):
        plain, static = both(model, given, return_dict_in_generate=True, output_logits=True, **settings)
        assert plain.sequences.tolist() == static.sequences.tolist()
        assert all(torch.allclose(a, b, atol=1e-4) for a, b in zip(plain.logits, static.logits, strict=True))
    assert Taped.replays > 10


class OnDevice(TorchDispatchMode):
    """Refuses operations with tensors of the host, on a device that is none: "meta"."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        places = {x.device.type for x in tree_leaves((args, kwargs, found)) if isinstance(x, torch.Tensor)}
        assert places == {"meta"}, f"{func} copies between host and device, which no CUDA graph can hold"
        return found


@pytest.mark.parametrize(("name", "sizes"), KINDS.values(), ids=KINDS)
def test_a_step_touches_nothing_of_the_host(name: str, sizes: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "autocast", lambda *given, **asked: nullcontext())  # which "meta" does not know
    decoder = joined(name, sizes).decoder.to("meta")
    with torch.inference_mode():
        memory = decoder.remember(torch.empty(3, 7, decoder.spec.memory_width or decoder.spec.width, device="meta"))
        shape = Shape(rows=4, count=2, slots=24, source=16, dtype=torch.float32)
        program = pools.Program(decoder, shape, memory, runners.Eager, lambda step: step)
        program.load(decoder.empty_cache(3, 10, memory[0][0]), 1, memory, None)
        ids, order = (torch.zeros(n, k, dtype=torch.int64, device="meta") for n, k in ((3, 2), (1, 3)))
        program(ids, 1, order, None, 1)  # what is sent once has been sent
        with OnDevice():
            hidden, logits = program.step()
    assert hidden.shape == (4, 2, decoder.spec.width)
    assert logits.shape == (4, 2, decoder.spec.vocab)


def test_recordings_are_few_kept_and_made_again_for_other_weights(peer: Any) -> None:
    model = copy.deepcopy(peer("bert", "gpt2", **TINY).ours)
    given = peers.source(peer("bert", "gpt2", **TINY), rows=5)
    asked = {"eos_token_id": None, "pad_token_id": 0, **STATIC}
    for rows, new in ((5, 13), (6, 10), (5, 16)):
        some = {name: x[:rows] for name, x in {n: torch.cat([x, x[:1]]) for n, x in given.items()}.items()}
        model.generate(**some, max_new_tokens=new, **asked)
    assert Taped.made == 1
    with torch.no_grad():
        model.decoder.embed.token.weight.mul_(-2)  # in place: the recording reads what is there
    plain, static = both(model, given)
    assert plain.tolist() == static.tolist()
    made = Taped.made
    model.decoder.embed.token.weight = torch.nn.Parameter(model.decoder.embed.token.weight.detach() * 0.5 + 0.1)
    plain, static = both(model, given)
    assert plain.tolist() == static.tolist()
    assert Taped.made > made
    gone = weakref.ref(model.decoder)
    del model
    gc.collect()
    assert gone() is None


def test_rows_that_leave_take_the_others_to_fewer_rows(peer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    rows: list[int] = []
    call = pools.Program.__call__
    monkeypatch.setattr(
        pools.Program, "__call__", lambda self, ids, *more: rows.append(self.shape.rows) or call(self, ids, *more)
    )
    pair = peer("bert", "bert", **TINY)
    given = {name: x.repeat(2, 1) for name, x in peers.source(pair, rows=8).items()}
    plain, static = both(pair.ours, given, eos_token_id=[4, 7, 11, 8, 9], do_sample=True, temperature=2.0)
    assert plain.tolist() == static.tolist()
    assert rows[0] == 16
    sizes = list(dict.fromkeys(rows))
    assert len(sizes) > 1
    assert all(later * 2 <= earlier for earlier, later in itertools.pairwise(sizes))


def test_streams_take_turns_with_other_calls(peer: Any) -> None:
    pair = peer("bert", "gpt2", **TINY)
    first, second = (peers.source(pair, rows=2, seed=seed) for seed in (1, 9))
    asked = {"max_new_tokens": 12, "eos_token_id": None, "pad_token_id": 0}
    expected = [pair.ours.generate(**given, **asked).tolist() for given in (first, second)]
    pair.ours.generate(**first, **asked, **STATIC)  # so that there is one recording, which only one stream can have
    made: list[dict[int, list[int]]] = [{0: [], 1: []}, {0: [], 1: []}]
    both_streams = [
        streams(pair.ours, g["input_ids"], {"attention_mask": g["attention_mask"], **asked, **STATIC})
        for g in (first, second)
    ]
    for steps in zip(*both_streams, strict=True):
        for found, (row, ids) in zip(made, steps, strict=True):
            found[row] += ids
    assert [[found[0], found[1]] for found in made] == expected


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"cache_implementation": "quantized"}, 'cache_implementation is .quantized.; "dynamic" or "static"'),
        ({**STATIC, "prompt_lookup_num_tokens": 2}, "static.* came with drafts"),
        ({**STATIC, "return_dict_in_generate": True, "output_attentions": True}, "came with output_attentions"),
        ({"compile_config": {"dynamic": True}}, "dynamic=True; steps have fixed shapes"),
        ({"compile_config": {"mode": "overhead"}}, "mode='overhead'"),
        ({"compile_config": {"backend": "cudagraphs"}}, "backend='cudagraphs'"),
        ({"compile_config": {"speed": 2}}, "a CompileConfig or its fields"),
        ({"disable_compile": "yes"}, "disable_compile"),
    ],
)
def test_what_cannot_be_is_refused(peer: Any, settings: dict[str, Any], said: str) -> None:
    pair = peer("bert", "gpt2", **TINY)
    with pytest.raises(InputError, match=said):
        pair.ours.generate(**peers.source(pair), **settings)


def test_autocast_is_refused(peer: Any) -> None:
    pair = peer("bert", "gpt2", **TINY)
    with torch.autocast("cpu", torch.bfloat16), pytest.raises(InputError, match="autocast"):
        pair.ours.generate(**peers.source(pair), **STATIC)


def test_layers_that_a_replay_would_not_see_change_are_refused(peer: Any) -> None:
    pair = peer("bert", "gpt2", **TINY)
    wrapped, hooked = copy.deepcopy(pair.ours), copy.deepcopy(pair.ours)
    up = wrapped.decoder.layers[0].ffn.up
    wrapped.decoder.layers[0].ffn.up = torch.nn.Sequential(up)
    hooked.decoder.layers[0].ffn.register_forward_hook(lambda module, given, found: found)
    for model in (wrapped, hooked):
        with pytest.raises(InputError, match=r"static.* came with layers beside the model's own"):
            model.generate(**peers.source(pair), **STATIC)


def test_nothing_is_recorded_where_that_is_disabled_or_the_device_is_a_cpu(
    peer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair = peer("bert", "gpt2", **TINY)
    pair.ours.generate(**peers.source(pair), max_new_tokens=4, disable_compile=True, **STATIC)
    monkeypatch.setattr(static_decoders, "records", runners.records)
    pair.ours.generate(**peers.source(pair), max_new_tokens=4, **STATIC)
    assert Taped.made == 0


def test_compiled_steps_write_the_tokens_of_plain_ones(peer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Through torch's own tracing, which fails where a step is not one graph; what a compiler makes of it is `extensive`."""
    monkeypatch.setattr(pools, "runner_for", runners.runner_for)
    pair = peer("bert", "roberta", **TINY)
    given = peers.source(pair, rows=3)
    graphs: list[Any] = []
    torch._dynamo.register_backend(lambda graph, inputs: graphs.append(graph) or graph.forward, name="counted")
    for number, settings in enumerate(({}, {"num_beams": 3}), 1):
        asked = {**given, "max_new_tokens": 9, "eos_token_id": None, **settings}
        compiled = pair.ours.generate(**asked, compile_config={"backend": "counted"})
        assert compiled.tolist() == pair.ours.generate(**asked).tolist()
        assert len(graphs) == number  # one for all steps
    for wrong in ({"backend": "nowhere"}, {"options": {"nowhere": 1}}):
        with pytest.raises(InputError, match=r"compile_config is nothing that torch.compile takes: .*nowhere"):
            pair.ours.generate(**given, compile_config=wrong)

    def fails(graph: Any, inputs: Any) -> Any:
        raise OSError("no compiler")

    torch._dynamo.register_backend(fails, name="fails")
    with pytest.raises(ConjoinError, match=r"cannot be compiled here \(.*no compiler.*\); leave compile_config out"):
        pair.ours.generate(**given, compile_config={"backend": "fails"})


@pytest.mark.extensive
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's own, of torch.jit
@pytest.mark.parametrize(("name", "sizes"), KINDS.values(), ids=KINDS)
def test_inductor_compiles_every_kind(name: str, sizes: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pools, "runner_for", runners.runner_for)
    model, given = joined(name, sizes), {"input_ids": torch.randint(3, 19, (3, 7))}
    for settings in ({}, {"num_beams": 3}):
        asked = {**given, **settings, "max_new_tokens": 9}
        assert model.generate(**asked, compile_config=CompileConfig()).tolist() == model.generate(**asked).tolist()


def test_a_recording_is_warmed_up_aside_made_once_and_replayed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The calls to CUDA, where there is none; what they do is the test below."""
    done: list[str] = []

    @contextmanager
    def within(name: str) -> Iterator[None]:
        done.append(name)
        yield
        done.append(f"{name} ends")

    stream = SimpleNamespace(wait_stream=lambda other: done.append("waits"))
    graph = SimpleNamespace(replay=lambda: done.append("replay"))
    for name, fake in {
        "Stream": lambda: stream,
        "current_stream": lambda: stream,
        "CUDAGraph": lambda: graph,
        "device": lambda device: nullcontext(),
        "stream": lambda aside: within("aside"),
        "graph": lambda made, stream, capture_error_mode: within("recording"),
    }.items():
        monkeypatch.setattr(torch.cuda, name, fake)
    found = (torch.zeros(1), torch.ones(1))
    run = runners.Recorded(lambda: done.append("step") or found, torch.device("cuda"))
    assert run() is found
    assert run() is found
    warm = ["waits", "aside", *["step"] * runners.WARM_UPS, "aside ends", "waits"]
    assert done == [*warm, "recording", "step", "recording ends", "replay", "replay"]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")
@every_mode
def test_on_a_gpu_recordings_write_the_tokens_of_plain_steps(
    peer: Any, settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(static_decoders, "records", runners.records)
    monkeypatch.setattr(pools, "runner_for", runners.runner_for)
    on_device = {n: x.to("cuda") if isinstance(x, torch.Tensor) else x for n, x in settings.items()}
    for encoder, decoder in (("bert", "gpt2"), ("roberta", "roberta"), ("bart", "bart")):
        pair = peer(encoder, decoder, **TINY)
        model = copy.deepcopy(pair.ours).to("cuda")
        given = {name: x.to("cuda") for name, x in peers.source(pair, rows=6).items()}
        for _ in range(2):  # recorded, then replayed from the start
            plain, static = both(model, given, eos_token_id=[4, 7, 11], **on_device)
            assert plain.tolist() == static.tolist()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's own, of torch.jit
def test_on_a_gpu_compiled_steps_are_recorded_too(peer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pools, "runner_for", runners.runner_for)
    pair = peer("bert", "gpt2", **TINY)
    model = copy.deepcopy(pair.ours).to("cuda")
    given = {name: x.to("cuda") for name, x in peers.source(pair, rows=6).items()}
    for settings in ({}, {"num_beams": 3}):
        asked = {**given, **settings, "max_new_tokens": 9}
        assert model.generate(**asked, compile_config={}).tolist() == model.generate(**asked).tolist()


def test_the_settings_travel_with_a_model() -> None:
    config = GenerationConfig(cache_implementation="static", compile_config={"mode": "max-autotune"})
    again = GenerationConfig.from_dict(config.to_dict())
    assert again == config
    assert again.compile_config == CompileConfig(mode="max-autotune")
    theirs = transformers.GenerationConfig(compile_config=transformers.CompileConfig(backend="aot_eager"))
    for given in (theirs.compile_config, theirs.to_dict()["compile_config"]):
        assert GenerationConfig(compile_config=given).compile_config == CompileConfig(backend="aot_eager")
