"""Load for benchmarks/serving.py, by Locust: each client asks again once it is answered, half greedily, half with beams.

Documents of the demo's test set, cut to 20 to 200 words; new tokens 16, 32 or 64, exactly so many, so that all servers do the
same work. SHAPES=natural lets the model end by itself, within 60. With TOGETHER=1 all clients ask at the
same moment, every PACE seconds.
"""

import gzip
import json
import os
import random
import time
from pathlib import Path

import gevent
from locust import FastHttpUser, task

DATA = Path(__file__).parents[1] / "src" / "conjoin" / "data" / "test.jsonl.gz"
NATURAL = os.environ.get("SHAPES") == "natural"
PACE = float(os.environ.get("PACE", "0"))  # seconds from one request of a client to its next, at least
TOGETHER = os.environ.get("TOGETHER") == "1"
BEAMS = tuple(int(x) for x in os.environ.get("BEAMS", "1 4").split())
DRAW = random.Random(int(os.environ.get("SEED", "1")))

with gzip.open(DATA, "rt", encoding="utf-8") as lines:
    DOCUMENTS = [" ".join(json.loads(line)["document"].split()) for line in lines]


class Client(FastHttpUser):
    """One of them."""

    network_timeout = connection_timeout = 300.0

    def on_start(self) -> None:
        gevent.sleep(0 if TOGETHER else DRAW.uniform(0, PACE))
        self.due = time.perf_counter()

    def wait_time(self) -> float:
        """Seconds until PACE after its last request was due; none where that has passed."""
        now = time.perf_counter()
        self.due = max(now, self.due + PACE)
        return self.due - now

    @task
    def ask(self) -> None:
        words = DRAW.choice(DOCUMENTS).split()
        beams = DRAW.choice(BEAMS)
        body = {"text": " ".join(words[: DRAW.randint(20, 200)]), "num_beams": beams, "truncation": True}
        tokens = DRAW.choice((16, 32, 64))
        body |= {"max_new_tokens": 60} if NATURAL else {"max_new_tokens": tokens, "min_new_tokens": tokens}
        with self.client.post("/generate", json=body, name=f"{beams} beams", catch_response=True) as answer:
            if answer.status_code in (429, 503):  # refused by name, as it should be
                answer.success() if answer.json()["error"]["code"] else answer.failure("no name")
            elif answer.status_code != 200 or not answer.json()["results"]:
                answer.failure(f"{answer.status_code}")
