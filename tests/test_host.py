"""Models of JAX and TensorFlow on the engine's kernels: chosen where it can be, never stale, the compiled program's samples."""

import gc
import weakref

import numpy as np
import peers
import pytest
from frameworks import ALL, compiled_frameworks
from test_frameworks import LENGTH, TINY

from conjoin.engine.host import hosting
from conjoin.engine.machine import has_kernels

pytestmark = [
    pytest.mark.usefixtures("engine"),
    pytest.mark.skipif(not has_kernels(), reason="the kernels need AVX-512 with VNNI"),
]


def tokens(framework, model, pair, **settings):
    given = framework.arrays(peers.source(pair))
    return framework.tokens(model.generate(**given, **{"max_new_tokens": LENGTH, "eos_token_id": None, **settings}))


def by_the_program(monkeypatch, framework, model, pair, **settings):
    """The tokens of the compiled program."""
    with monkeypatch.context() as patch:
        patch.setenv("CONJOIN_ENGINE", "framework")
        return tokens(framework, model, pair, **settings)


def host(model):
    return hosting.HOSTS[model].host


@compiled_frameworks
def test_the_engine_generates_unless_it_may_not_or_cannot(peer, framework, monkeypatch):
    pair, compiled = peer("bert", "gpt2", **TINY), []
    model, executed = framework.load(pair.folder), framework.model_class.ops.executed
    monkeypatch.setattr(framework.model_class.ops, "executed", lambda *given: compiled.append(1) or executed(*given))
    expected = tokens(framework, model, pair)
    assert (host(model) is not None, compiled) == (True, [])
    for change in ("framework", "torch", ""):  # "": the model is small
        monkeypatch.setenv("CONJOIN_ENGINE", change)
        assert tokens(framework, model, pair) == expected
    assert len(compiled) == 3
    monkeypatch.setenv("CONJOIN_ENGINE", "native")
    tokens(framework, model, pair, guidance_scale=1.5, negative_prompt_ids=framework.array(np.array([[7, 9]])))
    assert len(compiled) == 4  # two sources side by side


@compiled_frameworks
@pytest.mark.parametrize(
    "asked",
    [{"seed": 5}, {"seed": 6, "num_return_sequences": 2}, {"seed": 7, "num_beams": 3}, {}],
    ids=["seed", "several", "beams", "global"],
)
def test_samples_are_those_of_the_compiled_program(peer, framework, monkeypatch, asked):
    pair = peer("bert", "gpt2", **TINY)
    model = framework.load(pair.folder)
    asked = {**asked, "do_sample": True, "temperature": 1.5, "top_k": 0}
    found = []
    for make in (tokens, lambda *given, **more: by_the_program(monkeypatch, *given, **more)):
        np.random.seed(3)
        if framework.name == "tensorflow":
            import tensorflow as tf

            tf.random.set_seed(3)
        found.append(make(framework, model, pair, **asked))
    assert found[0] == found[1]


def changes(framework, model, pair):
    """Ways of changing a model's parameters, each a function."""
    name = "decoder.layers.0.ffn.up.weight"
    yield lambda: model.ops.rewrite(model, name, lambda old: old * 3)
    if framework.name == "jax":
        import jax

        from conjoin.flax.training import split, update

        yield lambda: update(model, jax.tree.map(lambda p: p * 1.5, split(model)[0]))
        return
    import keras
    import tensorflow as tf

    from conjoin.backends.tensorflow.store import leaf

    variable = leaf(model, name)[0].value
    batch = framework.arrays({**peers.source(pair), "labels": peers.labels(pair)})

    def fitted() -> None:
        model.compile(optimizer=keras.optimizers.SGD(3.0))
        model.train_on_batch(batch)

    @tf.function(jit_compile=True)
    def in_place() -> None:
        variable.assign_add(tf.ones_like(variable))

    yield from (fitted, in_place, lambda: variable[3:5].assign(tf.ones_like(variable[3:5]) * 9))


@compiled_frameworks
def test_a_change_of_any_parameter_by_any_way_is_seen(peer, framework, monkeypatch, tmp_path):
    pair = peer("bert", "gpt2", **TINY)
    model = framework.load(pair.folder)
    before = host(model) if tokens(framework, model, pair) else None
    assert tokens(framework, model, pair)
    assert host(model) is before  # nothing changed
    asked = {"return_dict_in_generate": True, "output_logits": True, "max_new_tokens": 2}
    given = framework.arrays(peers.source(pair))
    for change in changes(framework, model, pair):
        change()
        found = framework.number(model.generate(**given, **asked).logits[-1])
        assert host(model) is not before
        before = host(model)
        model.save_pretrained(tmp_path / "changed")
        again = framework.load(tmp_path / "changed")
        assert np.array_equal(found, framework.number(again.generate(**given, **asked).logits[-1]))


@compiled_frameworks
def test_a_model_that_nobody_has_takes_its_host_with_it(peer, framework):
    pair = peer("bert", "gpt2", **TINY)
    model = framework.load(pair.folder)
    tokens(framework, model, pair)
    gone = weakref.ref(host(model))
    del model
    gc.collect()
    assert gone() is None


def test_a_step_of_jax_still_takes_the_memory_of_the_parameters(peer):
    """The engine has what it needs of them in memory of its own, so that they can be given away."""
    import jax

    framework, pair = ALL["jax"], peer("bert", "gpt2", **TINY)
    model = framework.load(pair.folder)
    tokens(framework, model, pair)
    from conjoin.flax.training import split

    trained, _ = split(model)
    jax.jit(lambda x: jax.tree.map(lambda p: p * 2, x), donate_argnums=0)(trained)
    assert all(x.is_deleted() for x in jax.tree.leaves(trained))


@compiled_frameworks
def test_settings_and_tokens_of_now_are_used(peer, framework):
    pair = peer("bert", "gpt2", **TINY)
    model = framework.load(pair.folder)
    tokens(framework, model, pair)
    model.config.generation.num_beams = 3
    model.config.decoder_start_token_id = 9
    found = tokens(framework, model, pair)
    pair.ours.config.decoder_start_token_id = 9
    assert found == tokens(ALL["torch"], pair.ours, pair, num_beams=3)
    pair.ours.config.decoder_start_token_id = peers.START
