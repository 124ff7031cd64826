"""How a joined model becomes a folder, or a repository of the hub: config, weights, tokenizers, a card."""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar

from conjoin.card import model_card
from conjoin.checkpoint import NARROW, atomic_folder, require_space
from conjoin.composite import ARCHITECTURES, EncoderDecoderConfig
from conjoin.config import CONFIG_FILE
from conjoin.errors import InputError
from conjoin.hub import upload
from conjoin.joining import shared_names
from conjoin.loading import PROJECTION, ROLES
from conjoin.parts import save_tensors, write_json
from conjoin.processors import write_processor
from conjoin.states import below, whole_state
from conjoin.tokens.pair import TokenizerPair

__all__ = ["SavingModel"]


class SavingModel:
    """What a joined model saves of itself. A subclass gives `ops`, its backend, the parts, and `num_parameters`."""

    ops: ClassVar[Any]
    encoder: Any
    decoder: Any
    config: EncoderDecoderConfig
    enc_to_dec_proj: Any
    tokenizers: TokenizerPair | None
    num_parameters: Callable[[], int]

    def save_pretrained(
        self,
        save_directory: str | Path,
        *,
        is_main_process: bool = True,
        max_shard_size: int | str = "5GB",
        duplicate_shared: bool = False,
        safe_serialization: bool = True,
        save_function: Any = None,
        state_dict: Mapping[str, Any] | None = None,
        push_to_hub: bool = False,
    ) -> None:
        """Writes a folder that conjoin and transformers load: config, generation config, weights, tokenizers, a card.

        Shared weights are stored once, as transformers 4 does. transformers 5 ignores `tie_encoder_decoder` and would
        start such an encoder at random: `duplicate_shared=True` stores the encoder's copy too, for it. The folder
        appears whole or not at all. Of several processes one writes: `is_main_process=False` does nothing. A `state_dict` of
        the model's, which Accelerate gathers where each process holds a part, is written in place of its own values.
        `save_function` is taken for compatibility, and so is `safe_serialization`: files are always safetensors. Raises
        CheckpointError where the disk has no room, InputError for `safe_serialization=False`, `push_to_hub=True` and a
        `state_dict` of another model.
        """
        if not safe_serialization:
            raise InputError("safe_serialization is False; models are saved as safetensors, so leave it out.")
        if push_to_hub:
            raise InputError("push_to_hub is True; save the folder without it, and call model.push_to_hub(repo_id).")
        if not is_main_process:
            return
        ops = self.ops
        shared = shared_names(self.config, list(ops.shapes(self.encoder)))
        gone = () if duplicate_shared else shared
        narrow = ops.narrow_tensors(self, [f"encoder.{name}" for name in gone])
        if state_dict is not None and narrow is not None:
            raise InputError("state_dict was given, and a model in whole numbers is saved as it is; leave it out.")
        given = None if state_dict is None else whole_state(state_dict, shared, ops.shapes(self))
        tensors = self.file_tensors(gone, given) if narrow is None else narrow
        if duplicate_shared:
            tensors = {name: ops.copied(tensor) for name, tensor in tensors.items()}
        target = Path(save_directory)
        require_space(target, sum(t.nbytes for t in tensors.values()))
        with atomic_folder(target) as made:
            self.save_settings(made)
            if narrow is None:
                save_tensors(ops, made, tensors, max_shard_size)
            else:
                ops.save_file(tensors, made / NARROW[ops.dtype_name(self)], {"format": "conjoin"})

    def push_to_hub(
        self,
        repo_id: str,
        *,
        commit_message: str = "Upload model",
        private: bool | None = None,
        token: str | bool | None = None,
        revision: str | None = None,
        create_pr: bool = False,
        max_shard_size: int | str = "5GB",
        duplicate_shared: bool = False,
    ) -> str:
        """Saves it, tokenizers and card included, into a repository of the hub; returns the commit's address.

        Raises CheckpointError where the hub refuses or cannot be reached.
        """
        with TemporaryDirectory() as made:
            folder = Path(made) / "model"
            self.save_pretrained(folder, max_shard_size=max_shard_size, duplicate_shared=duplicate_shared)
            return upload(
                folder,
                repo_id,
                commit_message=commit_message,
                private=private,
                token=token,
                revision=revision,
                create_pr=create_pr,
            )

    def save_settings(self, folder: Path) -> None:
        """Writes all but the weights into a folder: config, generation config, tokenizers, processor, a card."""
        facts = {"architectures": [ARCHITECTURES[self.config.model_type]], "dtype": self.ops.dtype_name(self)}
        write_json(folder / CONFIG_FILE, {**self.config.to_dict(), **facts})
        self.config.generation.save_pretrained(folder)
        if self.tokenizers is not None:
            self.tokenizers.save_pretrained(folder)
        elif self.encoder.spec.front is not None and self.decoder.tokenizer is not None:
            self.decoder.tokenizer.save_pretrained(str(folder))
        write_processor(folder, self.encoder.processor_files)
        (folder / "README.md").write_text(model_card(self.config, self.num_parameters()), encoding="utf-8")

    def file_tensors(self, gone: Iterable[str], given: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Its arrays, or others that were `given` under their names, as its file has them, without those of the encoder that are
        `gone`."""
        given_to: dict[str, Any] = {role: None if given is None else below(role, given) for role in ROLES}
        tensors = {f"encoder.{n}": x for n, x in self.encoder.file_tensors(gone, given_to["encoder"]).items()}
        tensors |= {f"decoder.{n}": x for n, x in self.decoder.file_tensors((), given_to["decoder"]).items()}
        if self.enc_to_dec_proj is not None:
            held = {name: self.ops.read(self, name) for name in PROJECTION} if given is None else given
            tensors |= {name: self.ops.detached(held[name]) for name in PROJECTION}
        return tensors
