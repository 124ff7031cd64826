"""The parts of a source over a Ray cluster, through Ray Data: a pool of workers, each with one model, takes them in turn.

What Ray does here is to place workers, hand out parts, and hand a part out again when its worker dies. All machines must see
the files, the output folder and the model under one path.
"""

import os
import socket
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from conjoin.bulk.lines import STANDARD
from conjoin.bulk.running import Progress, run_of
from conjoin.bulk.shards import Shard, answer_shard, begin, finish, shards_of
from conjoin.bulk.sources import Source
from conjoin.bulk.windows import Job
from conjoin.errors import ConjoinError, DataError, InputError

if TYPE_CHECKING:
    from conjoin.pipelines import Writer

__all__ = ["Cluster", "answered_by_cluster"]

LOCAL = "local"
SECONDS = 10.0  # in which a cluster takes a connection
MOST_BLOCKS = 20_000  # of Ray Data, each handed out as a whole
INHERITED = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY", "CONJOIN_ENGINE", "HF_HOME", "HF_HUB_OFFLINE", "HF_ENDPOINT")


@dataclass(frozen=True)
class Cluster:
    """Where the work is done: a Ray address or "local", how many workers (None: all that fit), and what each takes."""

    address: str
    workers: int | None = None
    cpus: int = 1
    gpus: int = 0


class Worker:
    """One model in a process of its own, which answers one part after the other."""

    def __init__(self, job: Job, shards: Sequence[Shard]) -> None:
        self.job, self.shards = job, shards
        self.write: Writer | None = None

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Answers a part, by its number: how many items it had, or a user's mistake in one sentence."""
        number = int(batch["item"][0])
        try:
            # Not before: Ray would start a worker again and again that raises while it is made.
            self.write = self.write or self.job.opened()
            count, said = answer_shard(self.write, self.job, self.shards[number]), ""
        except ConjoinError as error:
            count, said = 0, str(error)
        return {"number": [number], "count": [count], "mistake": [said]}


def answered_by_cluster(job: Job, source: Source, output: str, progress: Progress, cluster: Cluster) -> None:
    """Answers a file, or the files of a folder, into the files of a folder. Raises the errors that a user can mend."""
    if STANDARD in (source.file, output):
        raise InputError("--ray reads a file or a folder, and needs --output, a folder; neither can be standard.")
    folder, source, job = (
        Path(output).resolve(),
        replace(source, file=whole(source.file)),
        replace(job, model=whole(job.model)),
    )
    shards = shards_of(source, folder)
    expect_answer(cluster.address)
    begin(folder, {**run_of(job, source, samples=True), "output_column": source.output_column}, shards)
    left = [shard for shard in shards if not shard.done]
    done = sum(shard.size for shard in shards) - sum(shard.size for shard in left)
    with progress(done + sum(shard.size for shard in left)) as shown:
        shown(done, 0)
        for row in answers(job, left, cluster) if left else ():
            if row["mistake"]:
                raise DataError(
                    f'{row["mistake"]} What was written is in "{folder}"; the same command goes on from there.'
                )
            done += left[row["number"]].size
            shown(done, row["count"])
    finish(folder, shards)


def whole(name: str) -> str:
    """A path as every machine finds it; what is no path is a hub id."""
    return str(Path(name).resolve()) if Path(name).exists() else name


def answers(job: Job, shards: Sequence[Shard], cluster: Cluster) -> Iterator[dict[str, Any]]:
    """What the workers say of each part, as they come."""
    ray = connected(cluster.address)
    try:
        context = ray.data.DataContext.get_current()
        context.enable_progress_bars = False
        parts = ray.data.from_items(list(range(len(shards))), override_num_blocks=min(len(shards), MOST_BLOCKS))
        workers = pool_size(ray.cluster_resources(), cluster, len(shards))
        yield from parts.map_batches(
            Worker,
            batch_size=1,
            compute=ray.data.ActorPoolStrategy(min_size=1, max_size=workers, initial_size=workers),
            fn_constructor_args=(job, shards),
            num_cpus=cluster.cpus,
            num_gpus=cluster.gpus,
        ).iter_rows()
    finally:
        ray.shutdown()


def expect_answer(address: str) -> None:
    """Raises InputError where nobody listens at HOST:PORT, for which Ray itself would wait many minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdigit():
        return
    try:
        socket.create_connection((host, int(port)), SECONDS).close()
    except (OSError, OverflowError) as error:
        raise no_cluster(address, error) from None


def no_cluster(address: str, why: Exception) -> InputError:
    """What is said where there is no cluster."""
    first = str(why).strip().partition("\n")[0]
    return InputError(f'no Ray cluster answers at "{address}" ({first}); give its address, or "local".')


def connected(address: str) -> Any:
    """Ray, connected to a cluster, or to one of this machine alone. Raises InputError where that cannot be."""
    try:
        import ray
        import ray.data
    except ModuleNotFoundError:
        raise InputError('--ray needs Ray; run: pip install "conjoin[ray]".') from None
    local = {"include_dashboard": False} if address == LOCAL else {}
    # A worker's threads, as many as it has processors, are not to spin at barriers (cli/__init__.py).
    environment = {"env_vars": {name: os.environ[name] for name in INHERITED if name in os.environ}}
    try:
        ray.init(address, runtime_env=environment, log_to_driver=False, logging_level="error", **local)
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise no_cluster(address, error) from None
    return ray


def pool_size(there: Mapping[str, float], cluster: Cluster, parts: int) -> int:
    """How many workers there are. Raises InputError where not one fits."""
    fits = int(there.get("CPU", 0) // cluster.cpus)
    if cluster.gpus:
        fits = min(fits, int(there.get("GPU", 0) // cluster.gpus))
    if not fits:
        raise InputError(
            f"no worker of {cluster.cpus} processors and {cluster.gpus} GPUs fits the cluster, which has "
            f"{there.get('CPU', 0):.0f} and {there.get('GPU', 0):.0f}; ask for fewer with --worker-cpus."
        )
    return min(fits, parts, cluster.workers or fits)
