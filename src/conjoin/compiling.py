"""CompileConfig: how torch.compile treats the step of `generate`, with transformers' names and defaults."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Protocol, Self, runtime_checkable

from conjoin.errors import InputError, nearest

__all__ = ["CompileConfig", "HasFields"]

MODES = ("default", "reduce-overhead", "max-autotune", "max-autotune-no-cudagraphs")


@runtime_checkable
class HasFields(Protocol):
    """What gives its fields as a dictionary."""

    def to_dict(self) -> dict[str, Any]:  # noqa: D102
        ...


@dataclass(frozen=True)
class CompileConfig:
    """What torch.compile is asked for: `backend`, and `mode` or the `options` of the backend.

    The step is one graph of fixed shapes whatever `fullgraph` says, and `dynamic=True` is refused. On an NVIDIA GPU the compiled
    step is recorded as a CUDA graph of ours, so that a mode is used without graphs of its own.
    """

    fullgraph: bool = False
    dynamic: bool | None = None
    backend: str = "inductor"
    mode: str = "reduce-overhead"
    options: dict[str, Any] | None = field(default=None, hash=False)

    def __post_init__(self) -> None:
        """Raises InputError for a value that cannot be."""
        if self.dynamic:
            raise InputError("compile_config has dynamic=True; steps have fixed shapes here, so leave it out.")
        if not isinstance(self.backend, str) or self.backend == "cudagraphs":
            raise InputError(
                f'compile_config has backend={self.backend!r}; the name of a compiler was expected, such as "inductor" '
                f'(cache_implementation="static" alone records CUDA graphs).'
            )
        if self.mode not in MODES:
            raise InputError(
                f"compile_config has mode={self.mode!r}{nearest(str(self.mode), MODES)}; one of {', '.join(MODES)} was expected."
            )

    def to_dict(self) -> dict[str, Any]:
        """The five fields."""
        return asdict(self)

    @classmethod
    def of(cls, given: Any) -> Self:
        """From itself, its fields as a mapping, or transformers' object of the same name. Raises InputError for others."""
        if isinstance(given, cls):
            return given
        found = given.to_dict() if isinstance(given, HasFields) else given
        names = [f.name for f in fields(cls)]
        if not isinstance(found, Mapping) or not set(found) <= set(names):
            raise InputError(f"compile_config is {given!r}; a CompileConfig or its fields ({names}) were expected.")
        return cls(**found)
