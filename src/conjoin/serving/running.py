"""The process that serves: uvicorn, signals that drain, and connections that are counted."""

import gc
import math
import signal
import socket
import sys
import time
from types import FrameType
from typing import Any

import uvicorn

from conjoin.errors import InputError
from conjoin.serving.app import App

__all__ = ["Server", "bound", "configured", "run"]

SWITCH = (
    0.0005  # seconds that a thread computes in Python while the event loop waits, of whose turns a request takes many
)
# New objects until Python looks for garbage among them, and looks of a kind until one of the next: of requests that come at once,
# hundreds, each makes a thousand, and all would wait while it looks, again and again, through what will be needed.
GARBAGE = (20_000, 20, 20)
EVERY = 10  # of uvicorn's ticks, of which there are ten a second: how often idle connections are looked for


class Server(uvicorn.Server):
    """Drains at the first SIGTERM or SIGINT: who is here is answered, who comes is refused by name; a second ends it at once."""

    def __init__(self, app: App, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.app, self.deadline = app, 0.0
        app.gate.connections = lambda: len(self.server_state.connections)
        app.gate.hang_up = self.hang_up
        self.idle: dict[
            Any, tuple[Any, float]
        ] = {}  # of connections that ask nothing: the last request, and since when

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """What a signal does."""
        if self.app.gate.draining or sig not in (signal.SIGTERM, signal.SIGINT):
            self.should_exit = self.force_exit = True
        self.app.gate.draining = True
        self.deadline = time.monotonic() + self.app.limits.seconds

    async def on_tick(self, counter: int) -> bool:
        """Whether to end: uvicorn asks ten times a second."""
        if self.app.gate.draining and (not self.app.gate.inside or time.monotonic() > self.deadline):
            self.should_exit = True
        if counter % EVERY == 0:
            self.close_idle(time.monotonic())
        return await super().on_tick(counter)

    def open(self) -> list[Any]:
        """The connections."""
        return list(self.server_state.connections)

    def close_idle(self, now: float) -> None:
        """Closes connections on which no whole request has come for too long."""
        before, self.idle = self.idle, {}
        for one in self.open():
            if one.cycle is not None and not one.cycle.response_complete:
                continue
            last, since = before.get(one, (None, now))
            if last is not one.cycle:  # one that came and went between two looks, as a probe's do
                since = now
            self.idle[one] = one.cycle, since
            if now - since > self.app.limits.queue_seconds:
                one.transport.abort()

    def hang_up(self, client: Any) -> None:
        """Ends the connection of a client at once."""
        for one in self.open():
            if one.client == client:
                one.transport.abort()


def bound(host: str, port: int, waiting: int) -> socket.socket:
    """A socket that listens. Raises InputError where there cannot be one."""
    if not host:  # which would be every address
        raise InputError("the host is empty; an address was expected, such as 127.0.0.1, or 0.0.0.0 for every one.")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=waiting)
    except (OSError, UnicodeError) as error:  # the latter for what can be no name of a host
        said = getattr(error, "strerror", None) or error
        raise InputError(f"{host}:{port} cannot be listened on: {said}.") from None


def configured(app: App) -> uvicorn.Config:
    """What uvicorn is told."""
    return uvicorn.Config(
        app.asgi,
        http="h11",
        ws="none",
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_keep_alive=math.ceil(
            app.limits.queue_seconds
        ),  # as for who asks nothing: who is hung up on may be asking just then
        timeout_graceful_shutdown=5,
    )


def run(app: App, listening: socket.socket) -> None:
    """Serves on a socket until a signal ends it."""
    sys.setswitchinterval(SWITCH)
    gc.set_threshold(*GARBAGE)
    gc.collect()
    gc.freeze()  # what is loaded stays: to look through its 300,000 objects again would hold up everybody for 0.14 s
    app.when_warm = gc.freeze  # and so does what warming loads
    Server(app, configured(app)).run(sockets=[listening])
