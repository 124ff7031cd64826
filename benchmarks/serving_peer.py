"""What people write who serve a model themselves: FastAPI around transformers' `generate`, one request at a time.

`python benchmarks/serving_peer.py DIR PORT`. Several at a time, on threads, were slower: they contend for the same cores.
"""

import sys
import threading
from typing import Any

import torch
import transformers
import uvicorn
from fastapi import FastAPI

model = transformers.EncoderDecoderModel.from_pretrained(sys.argv[1]).eval()
tokenizer = transformers.AutoTokenizer.from_pretrained(sys.argv[1])
app, alone = FastAPI(), threading.Lock()


@app.get("/ready")
def ready() -> dict[str, bool]:
    return {"ready": True}


@app.post("/generate")
def generate(body: dict[str, Any]) -> dict[str, Any]:
    text = body.pop("text")
    inputs = tokenizer(text, return_tensors="pt", truncation=body.pop("truncation"), max_length=512)
    with alone, torch.inference_mode():
        ids = model.generate(inputs["input_ids"], attention_mask=inputs["attention_mask"], **body)
    return {"results": [{"text": tokenizer.decode(ids[0], skip_special_tokens=True)}]}


uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[2]), log_level="warning")
