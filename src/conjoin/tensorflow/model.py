"""TFEncoderDecoderModel: the joined model as a Keras model on TensorFlow."""

import contextlib
import contextvars
import inspect
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Self

import keras
import optree
import tensorflow as tf

from conjoin.backends import tensorflow as backend
from conjoin.backends.tensorflow import host
from conjoin.composite import EncoderDecoderConfig
from conjoin.engine.host.hosting import Hosted, forget
from conjoin.errors import ConjoinError, InputError, refuse_unknown
from conjoin.initial import blank
from conjoin.model import JoinedModel
from conjoin.outputs import ModelOutput
from conjoin.spec import RoleName
from conjoin.tensorflow.native import BaseEncoderDecoder
from conjoin.tensorflow.parts import Decoder, Encoder, as_it_is

__all__ = ["TFEncoderDecoderModel"]

FORWARD = inspect.signature(BaseEncoderDecoder.forward)
ARGUMENTS = [name for name in FORWARD.parameters if name != "self"]
ARRAYS = [name for name in ARGUMENTS if name.endswith(("_ids", "_mask", "_embeds", "labels"))]
ONLY_LOSS: contextvars.ContextVar[bool] = contextvars.ContextVar("ONLY_LOSS", default=False)


def parted(output: Any) -> tuple[tuple[Any, ...], tuple[str, ...], tuple[str, ...]]:
    """An output's values, and their names as what it is made of and as paths."""
    return tuple(output.values()), tuple(output), tuple(output)


def whole(kind: type[ModelOutput], names: Any, values: Any) -> ModelOutput:
    """An output of its names and values."""
    return kind(zip(names, values, strict=True))


def known_to_keras(kind: type[ModelOutput]) -> None:
    """Lets Keras see the tensors in an output: for models made of models, and for `predict`."""
    optree.register_pytree_node(
        kind,
        lambda output: (tuple(output.values()), tuple(output), tuple(output)),  # type: ignore[attr-defined, call-overload]
        lambda names, values: kind(zip(names, values, strict=True)),  # type: ignore[call-overload]
        namespace="keras",
    )


for _kind in ModelOutput.__subclasses__():
    known_to_keras(_kind)


def checked(name: str, x: Any) -> Any:
    """An array as TensorFlow's; a symbol of Keras as it is."""
    return x if isinstance(x, keras.KerasTensor) else backend.as_array(name, x)


@keras.saving.register_keras_serializable("conjoin")
class TFEncoderDecoderModel(Hosted, JoinedModel, BaseEncoderDecoder, keras.Model):  # type: ignore[misc]
    """A pretrained encoder and a pretrained decoder as one sequence-to-sequence model, a Keras model.

    From `config` (random weights), or from ready parts: `encoder` an Encoder, `decoder` a Decoder of `conjoin.tensorflow`.
    Raises ConfigError for what cannot be joined.

    Call it with the arguments of `EncoderDecoderModel` by name, or with one dictionary of them; with `training=True` there
    is dropout. `compile(optimizer)` without a loss and `fit` on batches with "labels" train on the model's own loss, a mean
    over the labels that count; with several replicas, the mean of the replicas' means. Where Keras is given a loss or
    metrics, they see the logits.
    """

    ops: ClassVar = backend
    encoder_class = Encoder
    decoder_class = Decoder
    host = host

    def __init__(
        self,
        config: EncoderDecoderConfig | None = None,
        encoder: Encoder | None = None,
        decoder: Decoder | None = None,
    ) -> None:
        super().__init__()
        self.assemble(config, encoder, decoder)
        backend.named(self)

    @as_it_is  # type: ignore[untyped-decorator]
    def __call__(self, *args: Any, training: bool | None = None, **given: Any) -> Any:
        """The outputs of one pass, as the PyTorch class's."""
        if args and isinstance(args[0], Mapping):
            args, given = args[1:], {**args[0], **given}
        if not set(ARGUMENTS).issuperset(given):
            refuse_unknown(f"{type(self).__name__}.forward()", given, ARGUMENTS)
        asked = dict(FORWARD.bind(self, *args, **given).arguments)
        del asked["self"]
        for name in ARRAYS:  # before Keras, which would take another framework's tensors for NumPy's
            if asked.get(name) is not None:
                asked[name] = checked(name, asked[name])
        if isinstance(outputs := asked.get("encoder_outputs"), tuple) and outputs:
            asked["encoder_outputs"] = checked("encoder_outputs", outputs[0]), *outputs[1:]
        return keras.Model.__call__(self, **asked, training=training)

    def call(self, *, training: bool | None = None, **given: Any) -> Any:
        """What Keras's own call comes to."""
        if ONLY_LOSS.get():
            given["return_logits"] = False
        if given.get("use_cache") is None and not tf.executing_eagerly():
            given["use_cache"] = False
        try:
            return self.forward(**given)
        except ConjoinError as error:
            error._keras_call_info_injected = True  # type: ignore[attr-defined]  # so that Keras adds no arguments to it
            raise

    call.__signature__ = FORWARD.replace(  # type: ignore[attr-defined]
        parameters=[
            *FORWARD.parameters.values(),
            inspect.Parameter("training", inspect.Parameter.KEYWORD_ONLY, default=None),
        ]
    )
    generate = as_it_is(JoinedModel.generate)

    encode = as_it_is(BaseEncoderDecoder.encode)
    encode_in_chunks = as_it_is(BaseEncoderDecoder.encode_in_chunks)
    decode = as_it_is(BaseEncoderDecoder.decode)
    init_cache = as_it_is(BaseEncoderDecoder.init_cache)

    def resize_token_embeddings(
        self, new_num_tokens: int | None = None, side: RoleName | None = None, pad_to_multiple_of: int | None = None
    ) -> Any:
        """As `EncoderDecoderModel.resize_token_embeddings`; what Keras compiled for the tables as they were is forgotten."""
        found = super().resize_token_embeddings(new_num_tokens, side, pad_to_multiple_of)
        self.train_function = self.test_function = self.predict_function = None
        return found

    # Training.

    def make_train_function(self, force: bool = False) -> Any:
        """As Keras's; what the engine knows of variables that now change is given back first."""
        forget(self)
        return super().make_train_function(force)

    def train_step(self, data: Any) -> dict[str, Any]:
        """One step of `fit`; on the model's own loss no logits are kept."""
        with self.only_what_is_needed():
            found: dict[str, Any] = super().train_step(self.with_labels(data))
        return found

    def test_step(self, data: Any) -> dict[str, Any]:
        """One step of `evaluate`."""
        with self.only_what_is_needed():
            found: dict[str, Any] = super().test_step(self.with_labels(data))
        return found

    def predict_step(self, data: Any) -> dict[str, Any]:
        """One step of `predict`: the outputs that have a row for each source."""
        found = super().predict_step(data)
        return {name: x for name, x in found.items() if tf.is_tensor(x) and len(x.shape) > 0}

    def with_labels(self, data: Any) -> Any:
        """A batch whose labels, where they came apart and the loss is the model's own, are among its inputs."""
        x, y, weight = keras.utils.unpack_x_y_sample_weight(data)
        if self.loss is None and y is not None and "labels" not in x:
            x = {**x, "labels": y}
        return keras.utils.pack_x_y_sample_weight(x, y, weight)

    @contextlib.contextmanager
    def only_what_is_needed(self) -> Iterator[None]:
        """Calls meanwhile compute the loss alone, unless Keras has a loss or metrics to compute from logits."""
        token = ONLY_LOSS.set(self.loss is None and len(self.metrics) < 2)
        try:
            yield
        finally:
            ONLY_LOSS.reset(token)

    def compute_loss(
        self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, training: bool = True
    ) -> tf.Tensor:
        """The model's own loss, or Keras's of the logits where it was compiled with one; this replica's share of it."""
        if self.loss is not None:
            if y is None:
                raise InputError(
                    "compile() was given a loss, and the labels came among the inputs, of which the model's own loss is made; "
                    "leave loss out, or give labels apart: fit(inputs, labels)."
                )
            return super().compute_loss(x, y, y_pred["logits"], sample_weight, training)
        return y_pred["loss"] / tf.distribute.get_strategy().num_replicas_in_sync

    def compute_metrics(self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None) -> dict[str, Any]:
        """Keras's metrics of the logits."""
        found: dict[str, Any] = super().compute_metrics(x, y, y_pred.get("logits"), sample_weight)
        return found

    # What a .keras file holds.

    def get_config(self) -> dict[str, Any]:
        """The config with its generation settings, and the policy of types."""
        generation = self.config.generation.to_dict()
        return {"config": self.config.to_dict(), "generation": generation, "policy": self.dtype_policy.name}

    @classmethod
    def from_config(cls, found: dict[str, Any]) -> Self:
        """A model of zeros, whose weights Keras then loads."""
        config = EncoderDecoderConfig.from_dict(found["config"])
        config.generation = config.generation.updated(found["generation"])
        made: Self = blank(backend, lambda: cls(config), backend.Placement(found["policy"], None))
        made.tie()
        return made
