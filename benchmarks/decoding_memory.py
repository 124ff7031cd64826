"""One engine loads a folder and generates; prints the peak of its memory beyond imports, in MB (Linux)."""

import os
import sys

os.environ.setdefault("CONJOIN_ENGINE", "native")


def resident(field: str) -> int:
    """Bytes of memory of this process: VmRSS now, or VmHWM at most."""
    with open("/proc/self/status", encoding="ascii") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith(field + ":"))


def main() -> None:
    name, folder, _ = sys.argv[1:]
    engine, precision = name.split()
    if engine == "ctranslate2":
        import ctranslate2

        before = resident("VmRSS")
        model = ctranslate2.Translator(folder, device="cpu", compute_type="int8_float32", intra_threads=2)
        texts = [[f"t{i}" for i in range(128)]] * 8
        model.translate_batch(texts, beam_size=4, max_decoding_length=64, min_decoding_length=64, max_batch_size=64)
    else:
        import torch
        import transformers

        from conjoin import EncoderDecoderModel

        ids = torch.full((8, 128), 1000)
        asked = {"attention_mask": torch.ones_like(ids), "num_beams": 4, "max_new_tokens": 64, "min_new_tokens": 64}
        transformers.BertModel(transformers.BertConfig(num_hidden_layers=1, hidden_size=12, intermediate_size=8))
        if engine == "conjoin":
            from conjoin.engine import native  # noqa: F401
        kind = transformers.EncoderDecoderModel if engine == "transformers" else EncoderDecoderModel
        before = resident("VmRSS")
        given = {} if engine == "transformers" else {"dtype": precision}
        model = kind.from_pretrained(folder, **given)
        model.generation_config.decoder_start_token_id, model.generation_config.pad_token_id = 101, 0
        model.generation_config.eos_token_id = None
        model.generate(ids, **asked)
    print(round((resident("VmHWM") - before) / 1e6))


if __name__ == "__main__":
    main()
