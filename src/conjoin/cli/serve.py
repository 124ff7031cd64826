"""`conjoin serve`: models over HTTP, with continuous batching, limits and metrics."""

import ipaddress
import logging
import os
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from conjoin.cli.options import Device, DType, device_name
from conjoin.errors import DataError, InputError

if TYPE_CHECKING:
    from conjoin.serving.app import App
    from conjoin.serving.limits import Limits

__all__ = ["serve"]

KEY = "CONJOIN_API_KEY"
Models = Annotated[
    list[str],
    typer.Argument(metavar="[NAME=]DIR...", help="Folders of joined models, or hub ids.", show_default=False),
]


def serve(
    models: Models,
    host: Annotated[str, typer.Option(help="The address to listen on; 0.0.0.0 is every one.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes any that is free.")] = 8000,
    device: Device = None,
    dtype: DType = None,
    api_key_file: Annotated[
        str | None,
        typer.Option(
            help=f"A file with a key a line, one of which every request must bring. Or {KEY}.", show_default=False
        ),
    ] = None,
    cors_origin: Annotated[
        list[str] | None,
        typer.Option(
            help="Pages of this origin may call; several times for several. [default: none]", show_default=False
        ),
    ] = None,
    log_texts: Annotated[bool, typer.Option("--log-texts", help="Put texts into the log.")] = False,
    batching: Annotated[bool, typer.Option("--batching/--no-batching", help="Several texts at a time, or one.")] = True,
    max_source_tokens: Annotated[int, typer.Option(help="Of a text.")] = 4096,
    max_new_tokens: Annotated[int, typer.Option(help="That a request may ask for.")] = 512,
    max_beams: Annotated[int, typer.Option(help="Of a text.")] = 8,
    max_sequences: Annotated[int, typer.Option(help="Returned for a text.")] = 8,
    max_texts: Annotated[int, typer.Option(help="Of a request.")] = 64,
    max_body_bytes: Annotated[int, typer.Option(help="Of a request.")] = 1 << 20,
    max_queue: Annotated[int, typer.Option(help="Texts that wait.")] = 256,
    max_queue_seconds: Annotated[float, typer.Option(help="That a text waits, or a body takes to come.")] = 30.0,
    max_seconds: Annotated[float, typer.Option(help="From a request to its answer.")] = 120.0,
    max_connections: Annotated[int, typer.Option(help="Open at once.")] = 512,
    max_rows: Annotated[int, typer.Option(help="Hypotheses of all texts in one step.")] = 128,
) -> None:
    """Serve models over HTTP: docs/serving.md. SIGTERM answers who is being served, and ends."""
    given = locals()
    keys = keys_of(api_key_file)
    require_extra()
    from conjoin.serving.allocating import keep_memory
    from conjoin.serving.limits import Limits
    from conjoin.serving.running import bound, run

    keep_memory()
    limits = Limits(**{name.removeprefix("max_"): value for name, value in given.items() if name.startswith("max_")})
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    app = opened(models, limits, device, dtype, keys, cors_origin or [], log_texts, batching)
    with bound(host, port, 2 * limits.connections) as listening:
        say_where(listening, open_to_all=not keys)
        run(app, listening)


def say_where(listening: socket.socket, *, open_to_all: bool) -> None:
    """Logs the address, and warns where other machines reach it and no key is wanted."""
    log = logging.getLogger("conjoin.serving")
    address, number = listening.getsockname()[:2]
    log.info("http://%s:%d", f"[{address}]" if ":" in address else address, number)
    if open_to_all and not ipaddress.ip_address(address.partition("%")[0]).is_loopback:
        log.warning(
            "no key is set: everybody who reaches %s may use this server; give %s or --api-key-file", address, KEY
        )


def opened(
    models: list[str],
    limits: "Limits",
    device: str | None,
    dtype: str | None,
    keys: list[str],
    origins: list[str],
    log_texts: bool,
    batching: bool,
) -> "App":
    """The application, its models loaded."""
    from conjoin import pipeline
    from conjoin.onnx.layout import is_exported
    from conjoin.serving.app import App
    from conjoin.serving.metrics import Metrics
    from conjoin.serving.served import Served

    metrics, served = Metrics(), []
    for name, folder in named(models).items():
        if is_exported(Path(folder)):
            raise InputError(f'"{folder}" holds ONNX graphs, which are not served; give the folder that was exported.')
        writer = pipeline(model=folder, device=device_name(device), dtype=dtype)
        served.append(Served(name, writer, limits, metrics.of(name), models=len(models), batching=batching))
    return App(served, limits, metrics, keys=keys, origins=origins, log_texts=log_texts)


def named(models: list[str]) -> dict[str, str]:
    """Folders by the names that requests call them by: what stands before "=", or the folder's own."""
    found: dict[str, str] = {}
    for one in models:
        name, _, folder = one.rpartition("=") if not Path(one).exists() else ("", "", one)
        name = name or Path(folder).resolve().name
        if name in found:
            raise InputError(f'two models are called "{name}"; name them: {name}-2={folder}.')
        found[name] = folder
    return found


def keys_of(file: str | None) -> list[str]:
    """The keys that requests may bring; none where every request is answered.

    Raises DataError where some were meant and none is there.
    """
    if file is None and KEY not in os.environ:
        return []
    if file is None:
        if not (key := os.environ[KEY].strip()):
            raise DataError(
                f"{KEY} is set and empty; a key was expected, or no such variable where everybody may come."
            )
        return [key]
    try:
        keys = [line.strip() for line in Path(file).read_text(encoding="utf-8-sig").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f'the file of keys "{file}" cannot be read: {error}.') from None
    if not keys:
        raise DataError(f'the file of keys "{file}" holds none; a key a line was expected.')
    return keys


def require_extra() -> None:
    """Raises ImportError with the command that brings what is missing."""
    from importlib.util import find_spec

    for module in ("torch", "fastapi", "uvicorn", "prometheus_client"):
        if find_spec(module) is None:
            raise ImportError(f'serving needs {module}, which is not installed; run: pip install "conjoin[serve]".')
