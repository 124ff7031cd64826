"""Asks a server for its health ten times a second, as a load balancer does, until its standard input ends.

`python benchmarks/serving_probe.py PORT` prints the seconds that each took: from before it connects, anew each time, to the end
of the answer. So what it waits for a core itself, beside the server and its other clients, is among them.
"""

import http.client
import json
import select
import sys
import time

taken = []
while not select.select([sys.stdin], [], [], 0.1)[0]:
    began = time.perf_counter()
    connection = http.client.HTTPConnection("127.0.0.1", int(sys.argv[1]), timeout=10)
    connection.request("GET", "/health")
    answer = connection.getresponse()
    assert answer.status == 200
    answer.read()
    connection.close()
    taken.append(time.perf_counter() - began)
print(json.dumps(taken))
