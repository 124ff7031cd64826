"""Peak memory of loading a model beyond the bare import, beside the size of its weights and beside transformers.

    python benchmarks/loading.py --size base

Each figure is taken in a process of its own, from /proc, so on Linux.
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

from common import SIZES, show

PROGRAM = """
import sys
library, folder = sys.argv[1:]
def peak():
    for line in open("/proc/self/status"):  # of this program alone; rusage would begin with its parent's
        if line.startswith("VmHWM"):
            return int(line.split()[1])
if library == "conjoin":
    from conjoin import EncoderDecoderModel
else:
    import transformers
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    from transformers import EncoderDecoderModel
import torch
torch.nn.functional.linear(torch.ones(8, 8), torch.ones(8, 8))
before = peak()
model = EncoderDecoderModel.from_pretrained(folder)
print(1024 * (peak() - before))
"""


def checkpoint(size: str, decoder: str, folder: str) -> int:
    """Writes a model with random weights; returns the bytes of its weights."""
    import torch

    from conjoin import BertConfig, EncoderDecoderConfig, EncoderDecoderModel, GPT2Config

    sizes = SIZES[size]
    wide = {"n_embd": "hidden_size", "n_layer": "num_hidden_layers", "n_head": "num_attention_heads"}
    other = (
        GPT2Config(**{ours: sizes[theirs] for ours, theirs in wide.items()})
        if decoder == "gpt2"
        else BertConfig(**sizes)
    )
    torch.manual_seed(0)
    config = EncoderDecoderConfig.from_encoder_decoder_configs(BertConfig(**sizes), other)
    EncoderDecoderModel(config=config).save_pretrained(folder)
    return (Path(folder) / "model.safetensors").stat().st_size


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=SIZES, default="base")
    args = parser.parse_args()
    rows = []
    for decoder in ("bert", "gpt2"):
        with tempfile.TemporaryDirectory() as folder:
            size = checkpoint(args.size, decoder, folder)
            peaks = {}
            for library in ("conjoin", "transformers"):
                out = subprocess.run(
                    [sys.executable, "-c", PROGRAM, library, folder], capture_output=True, text=True, check=True
                )
                peaks[library] = int(out.stdout.split()[-1])
        cells = [f"{peaks[name] / 1e6:.0f} MB ({peaks[name] / size:.2f}x)" for name in peaks]
        rows.append([f"bert to {decoder}, {args.size}", f"{size / 1e6:.0f} MB", *cells])
    show("peak memory of loading, beyond the import", ["model", "weights", "conjoin", "transformers"], rows)


if __name__ == "__main__":
    main()
