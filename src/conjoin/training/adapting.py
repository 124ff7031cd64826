"""What training changes about a model while it lasts: frozen parts, dropout, float32 weights, training mode."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from conjoin.chunks import asked_chunks
from conjoin.decoding.modes import check_modes
from conjoin.decoding.settings import resolve
from conjoin.parameters import members
from conjoin.torch.model import EncoderDecoderModel
from conjoin.training.optimiser import group_of
from conjoin.training.recipe import Recipe
from conjoin.training.tokenise import Examples

__all__ = ["adapted", "expect_lengths", "read_as_asked", "write_as_asked"]


@contextmanager
def adapted(model: EncoderDecoderModel, recipe: Recipe) -> Iterator[None]:
    """The model as it trains. Afterwards it is in evaluation mode, with its own dropout, and nothing more frozen."""
    model.float()  # small updates are lost in bfloat16 weights
    trained = {name: p.requires_grad for name, p in model.named_parameters()}
    dropouts = [(m, m.p) for m in model.modules() if isinstance(m, torch.nn.Dropout)]
    frozen = never_trained(model, recipe)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(trained[name] and name not in frozen)
    if recipe.dropout is not None:
        for module, _ in dropouts:
            module.p = recipe.dropout
    if recipe.gradient_checkpointing:
        model.gradient_checkpointing_enable()
    model.train()
    try:
        yield
    finally:
        model.eval()
        if recipe.gradient_checkpointing:
            model.gradient_checkpointing_disable()
        for module, rate in dropouts:
            module.p = rate
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(trained[name])
            parameter.grad = None


def never_trained(model: EncoderDecoderModel, recipe: Recipe) -> set[str]:
    """The parameters that a recipe leaves as they are from the first step to the last."""
    names, new = [name for name, _ in model.named_parameters()], model.new_parameters
    frozen = set(members(recipe.freeze, names, new))
    frozen |= {name for name in names if recipe.group(group_of(name, set(new))).freeze}
    if recipe.train_first_ratio == 1.0:
        frozen |= set(names) - set(members(recipe.train_first, names, new))
    return frozen


def read_as_asked(model: EncoderDecoderModel, recipe: Recipe) -> None:
    """Makes the model read long sources in windows where the recipe says so: a setting that is saved with it.

    Raises InputError for windows that the encoder cannot have.
    """
    if recipe.encode_in_chunks:
        model.config.generation.encode_in_chunks = True
    asked_chunks(model.encoder, model.config.generation)


def write_as_asked(model: EncoderDecoderModel, recipe: Recipe) -> None:
    """Makes the model generate by the recipe's settings, which are saved with it. Raises InputError for what cannot be."""
    if not recipe.generation:
        return
    asked, spec = model.config.generation.updated(recipe.generation), model.decoder.spec
    tried = asked
    if asked.max_length is None and asked.max_new_tokens is None:  # `expect_lengths` will say, by the data
        tried = asked.updated({"max_new_tokens": max(1, spec.max_length - 1)})
    check_modes(resolve(tried, prompt=1, positions=spec.max_length, vocab=spec.vocab), spec.max_length, spec.vocab)
    model.config.generation = asked


def expect_lengths(model: EncoderDecoderModel, examples: Examples) -> None:
    """Lets the model generate texts as long as it learnt, where its settings do not say: 20 tokens would cut most."""
    generation = model.config.generation
    if generation.max_length is None and generation.max_new_tokens is None:
        generation.max_new_tokens = int(examples.label_lengths.max())
