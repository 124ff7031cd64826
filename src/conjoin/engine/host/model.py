"""A joined model whose stacks are programs of the kernels, with the config and the parameters of a framework's model."""

from collections.abc import Callable
from functools import partial
from typing import Any

from conjoin import blocks
from conjoin.blocks import Cache, Inputs
from conjoin.engine.arrays import Array, wide
from conjoin.engine.host import ops
from conjoin.engine.host.layers import Leaf, leaves
from conjoin.engine.host.threads import host_threads
from conjoin.engine.kernels.layout import Mode
from conjoin.engine.native import Native
from conjoin.engine.weights import panels_of
from conjoin.generating import GeneratingModel
from conjoin.seq2seq import decoder, encoder, joined

__all__ = ["HostModel"]

BaseStack: Any = blocks.define(ops)["Stack"]


class Stack(BaseStack):
    """A stack whose layers and head the kernels are."""

    finds_rows = True
    tokenizer: Any = None

    @property
    def finds_best(self) -> bool:
        """As the kernels'."""
        return self.kernels.finds_best

    def pack(self, mode: Mode) -> None:
        """Makes programs of what its leaves hold. Raises UnsupportedError where it cannot."""
        kernels = Native(self, ArrayLeaves(mode), host_threads)
        if self.spec.head != "none":
            kernels.program("logits", False)  # now, while its weights are there
        self.kernels = kernels
        kept = {id(leaf) for _, leaf in before_layers(self)}
        for _, leaf in leaves(self):
            if id(leaf) in kept:
                leaf.keep()
            else:
                leaf.release()

    def hidden(self, given: Inputs) -> tuple[Array, list[Cache] | None]:
        """As in every framework; the cache is written in place."""
        memory: Any = given.memory
        sights = self.sights(given)
        seen = memory, given.memory_mask, given.cache, given.at
        x = self.kernels.hidden(given.embeddings, sights, *seen, given.mask, given.stands)
        return x, None if given.cache is None else list(given.cache)

    def remember(self, memory: Array) -> list[Cache]:
        """As in every framework, in panels."""
        return self.kernels.remember(memory)

    def logits(self, x: Array) -> Array:
        """As in every framework."""
        return self.kernels.logits(x)

    def best(self, x: Array, forbidden: Array, k: int) -> tuple[Array, Array]:
        """As Native.best."""
        return self.kernels.best(x, forbidden, k)


Encoder: Any = encoder.define(ops, Stack)
Decoder: Any = decoder.define(ops, Stack)
Joined: Any = joined.define(ops)


class HostModel(GeneratingModel, Joined):  # type: ignore[misc]
    """A model that generates, from another and `read`, which has each of its parameters by name, in PyTorch's layout.

    `backend` is `ops` with the random numbers of the other's framework. Raises UnsupportedError for a model that the
    kernels cannot hold.
    """

    def __init__(self, model: Any, backend: Any, read: Callable[[str], Array], mode: Mode) -> None:
        self.ops = backend  # type: ignore[misc]
        self.join(model.config, Encoder(model.encoder.config), Decoder(model.decoder.config))
        fill(self, read)
        self.encoder.pack(mode)
        self.decoder.pack(mode)
        if self.enc_to_dec_proj is not None:
            self.enc_to_dec_proj.keep()

    def follow(self, model: Any) -> "HostModel":
        """Itself, with what the other model has beside parameters: settings and tokenizers as they are now."""
        self.config = model.config
        for mine, theirs in ((self.encoder, model.encoder), (self.decoder, model.decoder)):
            mine.config, mine.tokenizer = theirs.config, theirs.tokenizer
        return self


def fill(module: Any, read: Callable[[str], Array]) -> None:
    """Gives a module's leaves what `read` has by their names."""
    for path, leaf in leaves(module):
        leaf.fill(partial(named, read, path))


def named(read: Callable[[str], Array], path: str, name: str) -> Array:
    """A leaf's parameter of a name; a vector is one itself."""
    return read(f"{path}.{name}" if name else path)


def before_layers(stack: Any) -> list[tuple[str, Leaf]]:
    """The leaves that are read before the kernels: embeddings, and tables of distances."""
    return [*leaves(stack.embed), *((str(i), table) for i, table in enumerate(stack.relative))]


class ArrayLeaves:
    """How the leaves of a host are read."""

    def __init__(self, mode: Mode) -> None:
        self.mode = mode

    def panels(self, layers: list[Any]) -> Any:
        """As `Leaves.panels`."""
        return panels_of([layer.weight for layer in layers], [layer.bias for layer in layers], self.mode)

    def table(self, table: Any, bias: Any) -> Any:
        """As `Leaves.table`."""
        return panels_of([table.weight], [None if bias is None else bias.weight], self.mode)

    def numbers(self, x: Any) -> Array:
        """As `Leaves.numbers`; a copy."""
        return wide(x.weight if isinstance(x, Leaf) else x).copy()
