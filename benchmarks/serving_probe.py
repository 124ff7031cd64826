"""Asks a server for its health ten times a second, as a load balancer does, until its standard input ends.

`python benchmarks/serving_probe.py PORT` prints, for each, the second at which it asked, the seconds that it took (from before it
connects, anew each time, to the end of the answer) and by how many it had woken too late to ask. So what it waits for a core
itself, beside the server and its other clients, is among them, and how long such waits are is known.
"""

import http.client
import json
import select
import sys
import time

PAUSE = 0.1
taken = []
start = slept = time.perf_counter()
while not select.select([sys.stdin], [], [], PAUSE)[0]:
    began = time.perf_counter()
    connection = http.client.HTTPConnection("127.0.0.1", int(sys.argv[1]), timeout=10)
    connection.request("GET", "/health")
    answer = connection.getresponse()
    assert answer.status == 200
    answer.read()
    connection.close()
    ended = time.perf_counter()
    taken.append((began - start, ended - began, began - slept - PAUSE))
    slept = time.perf_counter()
print(json.dumps(taken))
