"""`conjoin serve`: models over HTTP.

limits.py       what a request, and all together, may take
refusals.py     what is said no to, by name
gate.py         before every endpoint: keys, connections, sizes, draining
app.py          endpoints of ours
completions.py  OpenAI's
bodies.py       what requests hold
answers.py      what answers hold, for the OpenAPI document
requests.py     between the event loop and the scheduler's thread
served.py       a model by its name; requests made jobs
jobs.py         a text on its way
scheduler.py    continuous batching
lanes.py        batches side by side
beginning.py    sources encoded together
kinds.py        which searches may choose together
parties.py      those that do, as one
abreast.py      one step of the decoder for many searches
results.py      what a finished search says
looking.py      what a text was read from
page.html       the page to play with
metrics.py      for Prometheus
priority.py     who gets a core first
allocating.py   memory that is kept from step to step
running.py      the process: the server, signals, draining
"""
