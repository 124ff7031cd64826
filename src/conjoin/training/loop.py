"""`train`: from a model and pairs of texts to a trained model in a folder, resumable at any moment."""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from signal import SIGTERM
from types import MappingProxyType

import torch
from accelerate import Accelerator
from accelerate.tracking import GeneralTracker

import conjoin
from conjoin.engine.narrow import require_float
from conjoin.errors import ConfigError, DataError
from conjoin.torch.model import EncoderDecoderModel
from conjoin.training.adapters import ADAPTERS, Adapters
from conjoin.training.adapting import adapted, expect_lengths, read_as_asked, write_as_asked
from conjoin.training.agreeing import check_same_data, together
from conjoin.training.batches import Batches, Rows, Share, share_of
from conjoin.training.checkpoints import Checkpoints, Standing, bytes_needed, load_weights
from conjoin.training.data import Pairs
from conjoin.training.distributing import chosen_sharding, one_accelerator
from conjoin.training.evaluate import GenerationScores, chosen_by, generation_scores, improves, validation_loss
from conjoin.training.interrupts import Interrupts
from conjoin.training.optimiser import learning_rates
from conjoin.training.origin import origin_of
from conjoin.training.overlaps import warn_of_overlap, warn_of_repeats
from conjoin.training.precision import chosen_precision
from conjoin.training.randomness import seed_all
from conjoin.training.recipe import RESULT_FILE, Recipe
from conjoin.training.recipes import RECIPE_FILE, written
from conjoin.training.report import Report, State, require_plots
from conjoin.training.reporter import Reporter
from conjoin.training.result import Result
from conjoin.training.resuming import facts_of, restore, save, take_up
from conjoin.training.schedule import Moment, progress
from conjoin.training.start import copy_ready
from conjoin.training.stepping import Stepper
from conjoin.training.streaming import Feed, PairStream
from conjoin.training.token_cache import remembered
from conjoin.training.tokenise import Examples, limits_of, tokenise, warn_of_cuts
from conjoin.training.tracking import Tracking, check_trackers

__all__ = ["train"]

SECONDS_BETWEEN_SAVES = 600.0
NOTHING: Mapping[str, str] = MappingProxyType({})


def train(
    model: EncoderDecoderModel,
    train_pairs: Pairs | PairStream,
    validation_pairs: Pairs | None,
    recipe: Recipe,
    output_dir: str | Path,
    *,
    resume: bool = True,
    evaluate_generation: GenerationScores | None = None,
    report: bool = False,
    track: Sequence[str | GeneralTracker] = (),
    about: Mapping[str, str] = NOTHING,
    quiet: bool = False,
) -> Result:
    """Trains a model on pairs, and saves the best one (the last, without validation pairs) in `output_dir`.

    With `resume` a run that was interrupted goes on from its newest checkpoint; without, old checkpoints are removed.
    `evaluate_generation` is called at each evaluation with the model and some validation pairs. SIGTERM and Ctrl-C save
    a checkpoint and return. On return the model is the one that was saved, in float32 and evaluation mode. With `report`
    report.html and its pictures are in `output_dir` too, from the first evaluation on; `track` names trackers of Accelerate's
    that numbers go to, such as "tensorboard", which finds them in `output_dir`/logs. `about` names what else makes the run
    what it is: one in which this was otherwise is not gone on with.

    Raises ConfigError, DataError or CheckpointError before any work, for settings, data or a folder that cannot be, and
    ConjoinError where the loss is no longer a number: the checkpoints are then those before it. Raises ImportError where
    the report or a tracker needs a package that is not installed.
    """
    check_kinds(train_pairs, validation_pairs, recipe)
    require_float(model, "model")
    check_trackers(track)
    if report:
        require_plots()
    if isinstance(train_pairs, PairStream) and recipe.epochs is not None:
        raise ConfigError("pairs of a stream are counted only as they are read; set max_steps or minutes, not epochs.")
    accelerator = one_accelerator(recipe)
    with together(accelerator):
        read_as_asked(model, recipe)
        write_as_asked(model, recipe)
        limits = limits_of(model, recipe.max_source_length, recipe.max_target_length)
    precision = chosen_precision(recipe.precision, accelerator.device)
    recipe = recipe.changed(precision=precision, sharding=chosen_sharding(recipe.sharding))
    recipe = recipe.changed(max_source_length=limits.source, max_target_length=limits.target)
    checkpoints = Checkpoints(Path(output_dir), recipe.keep_checkpoints)
    main = accelerator.is_main_process
    interrupts, reporter, adapters = Interrupts(), Reporter(quiet or not main), Adapters(model, recipe.lora)
    with adapted(model, recipe), interrupts, reporter, adapters, ExitStack() as held:
        with together(accelerator):
            if main:
                held.enter_context(checkpoints.held(bytes_needed(model, recipe.keep_checkpoints), fresh=not resume))
            feed = Feed(train_pairs)
            first = feed.portion(0)
            examples = tokenise(model, first, limits) if feed.streams else remembered(model, first, limits)
            held_out = None if validation_pairs is None else remembered(model, validation_pairs, limits)
        for pairs, found in ((first, examples), (validation_pairs, held_out)):
            if pairs is not None and found is not None:
                check_same_data(accelerator, pairs.name, found)
                if main:
                    warn_of_cuts(pairs, found, limits)
                    warn_of_repeats(pairs)
        if main and validation_pairs is not None:
            warn_of_overlap(first.sources, first.name, validation_pairs)
        run = Run(model, recipe, feed, examples, checkpoints, accelerator, interrupts, reporter, adapters)
        run.about = about
        run.evaluate = evaluation_of(run, validation_pairs, held_out, evaluate_generation)
        if report:
            run.report = Report(Path(output_dir), recipe, examples, validation_pairs or first)
        with Tracking(accelerator, track, Path(output_dir), recipe) as run.tracking:
            run.begin(held_out)
            return run.finish() if run.go() else run.stop()


def check_kinds(train_pairs: object, validation_pairs: object, recipe: object) -> None:
    """Raises DataError or ConfigError for an argument of another kind."""
    if not isinstance(train_pairs, Pairs | PairStream):
        raise DataError(f"train_pairs is a {type(train_pairs).__name__}; Pairs(sources, targets) were expected.")
    if not isinstance(validation_pairs, Pairs | None):
        raise DataError(
            f"validation_pairs is a {type(validation_pairs).__name__}; Pairs(sources, targets) were expected."
        )
    if not isinstance(recipe, Recipe):
        raise ConfigError(f"recipe is a {type(recipe).__name__}; a Recipe was expected, such as Recipe(epochs=3).")


def evaluation_of(
    run: "Run", pairs: Pairs | None, held_out: Examples | None, score: GenerationScores | None
) -> Callable[[], dict[str, float]] | None:
    """The evaluation of a run: validation loss, and scores of generated texts where they are asked for."""
    if pairs is None or held_out is None:
        return None
    batches, count = run.batches_of(held_out), run.recipe.generation_examples

    def evaluate() -> dict[str, float]:
        pad, precision = run.stepper.pad, run.recipe.precision
        trained = run.stepper.placed.trained
        loss = validation_loss(trained, held_out, batches, pad=pad, precision=precision, accelerator=run.accelerator)
        asked = score if count > 0 else None
        if asked is None and run.report is None:
            return {"loss": loss}
        look = None if run.report is None else run.report.looker(run.standing.step, run.standing.seconds)
        with run.stepper.placed.assembled(run.accelerator.is_main_process), run.adapters.merged():
            scores = generation_scores(run.model, pairs.first(max(1, count)), asked, run.accelerator, look)
        return {**scores, "loss": loss}

    return evaluate


class Run:
    """One run of training: what it trains, on what, and how far it is."""

    def __init__(
        self,
        model: EncoderDecoderModel,
        recipe: Recipe,
        feed: Feed,
        examples: Examples,
        checkpoints: Checkpoints,
        accelerator: Accelerator,
        interrupts: Interrupts,
        reporter: Reporter,
        adapters: Adapters,
    ) -> None:
        self.model, self.recipe, self.feed, self.examples = model, recipe, feed, examples
        self.checkpoints, self.accelerator = checkpoints, accelerator
        self.interrupts, self.reporter, self.adapters = interrupts, reporter, adapters
        self.batches = self.batches_of(examples)
        self.standing = Standing()
        self.about = NOTHING
        self.evaluate: Callable[[], dict[str, float]] | None = None
        self.report: Report | None = None
        self.tracking: Tracking | None = None
        self.plan: tuple[int, list[list[Rows]]] = (-1, [])
        self.saved_at: tuple[int, float] = (-1, 0.0)  # step and seconds
        self.pace = 0.0  # seconds of the last step
        self.signal = 0

    def batches_of(self, examples: Examples) -> Batches:
        """Batches of the recipe's size."""
        recipe = self.recipe
        a_step = recipe.gradient_accumulation_steps * self.accelerator.num_processes
        lengths = examples.source_lengths, examples.label_lengths
        return Batches(*lengths, recipe.batch_size, recipe.batch_tokens, a_step, recipe.seed)

    def begin(self, held_out: Examples | None) -> None:
        """Takes up the newest checkpoint, or starts afresh; then everything is where it trains."""
        self.facts = facts_of(self.recipe, self.about, self.batches.batches_a_step, self.examples, held_out)
        self.facts["base"] = self.adapters.fingerprint()
        seed_all(self.recipe.seed)
        origin = origin_of(self.model, self.model.new_parameters)
        with together(self.accelerator), self.adapters.keeping_base():
            resumed = take_up(self.model, self.checkpoints, self.facts)
        self.facts["origin"] = origin if resumed is None else resumed.origin
        if resumed is None and self.recipe.start == "copy":
            copy_ready(self.model, self.examples, self.recipe.seed)
            self.model.train()
        expect_lengths(self.model, self.examples)
        self.adapters.attach()
        if resumed is not None:
            self.adapters.load(self.checkpoints.path(resumed.standing.step))
        self.stepper = Stepper(self.model, self.recipe, self.examples, self.accelerator)
        if resumed is not None:
            self.standing = resumed.standing
            restore(self.stepper.placed, self.stepper.optimiser, resumed.tensors)
            self.saved_at = self.standing.step, self.standing.seconds
            self.reporter.say(f"Going on after step {self.standing.step}.")
        self.reporter.begin(self.done())
        self.began = time.monotonic() - self.standing.seconds

    # How far it is.

    def steps(self) -> list[list[Rows]]:
        """The steps of the present epoch, or of the present buffer of a stream."""
        if self.plan[0] != self.standing.epoch:
            if self.feed.streams:
                self.turn_to(self.standing.epoch)
            self.plan = self.standing.epoch, self.batches.epoch(self.standing.epoch)
        return self.plan[1]

    def turn_to(self, number: int) -> None:
        """Reads a buffer of a stream. Raises DataError, in all processes, where one cannot, or reads another."""
        with together(self.accelerator):
            pairs = self.feed.portion(number)
            self.examples = self.stepper.examples = tokenise(self.model, pairs, self.examples.limits)
        check_same_data(self.accelerator, pairs.name, self.examples)
        self.batches = self.batches_of(self.examples)

    def done(self, steps: int = 0, seconds: float = 0.0) -> float:
        """How much of the run is over, 0 to 1, or will be so many steps and seconds later."""
        standing, at = self.standing, self.standing.step_in_epoch + steps
        epochs = standing.epoch + (at / len(self.steps()) if at else 0.0)
        return progress(self.recipe, epochs, standing.step + steps, standing.seconds + seconds)

    def agree(self, share: Share) -> int:
        """Target tokens of the step over all processes, which also learn of the clock, and of a signal to any."""
        clock = int(1000 * (time.monotonic() - self.began)) if self.accelerator.is_main_process else 0
        own = [self.stepper.tokens(share), self.interrupts.received or 0, clock]
        tokens, signal, clock = self.accelerator.reduce(
            torch.tensor(own, device=self.accelerator.device), "sum"
        ).tolist()
        self.signal = int(self.interrupts.received or (signal and SIGTERM))
        self.standing.seconds = clock / 1000
        return int(tokens)

    # Going.

    def go(self) -> bool:
        """Trains until the end, or until a signal comes: False then, and everything is saved."""
        while self.done() < 1.0:
            step = self.steps()[self.standing.step_in_epoch]
            share = share_of(step, self.accelerator.process_index, self.accelerator.num_processes)
            tokens = self.agree(share)
            if self.signal:
                self.save()
                return False
            if self.done() < 1.0:  # the clock has gone on
                self.step(step, share, tokens)
                self.look()
        return True

    def step(self, step: list[Rows], share: Share, tokens: int) -> None:
        """One update, and what there is to note of it."""
        began, standing = time.monotonic(), self.standing
        moment = Moment(standing.step, self.done(), self.done(1, self.pace))
        loss = self.stepper.step(share, tokens, moment)
        standing.losses.append(loss)
        standing.step += 1
        standing.step_in_epoch += 1
        self.pace = time.monotonic() - began
        rates, examples = learning_rates(self.stepper.optimiser), sum(len(rows) for rows in step)
        standing.note(rates)
        self.reporter.step(standing.step, self.done(), loss, max(rates.values()), examples, self.pace)
        if self.tracking is not None:
            self.tracking.step(standing.step, standing.losses, rates)
        if standing.step_in_epoch == len(self.steps()):
            standing.epoch, standing.step_in_epoch = standing.epoch + 1, 0

    def look(self) -> None:
        """Evaluates and saves where that is due."""
        recipe, standing = self.recipe, self.standing
        ended = standing.step_in_epoch == 0
        due = ended if recipe.evaluate_every is None else standing.step % recipe.evaluate_every == 0
        better = due and self.compare()
        to_save = due if recipe.save_every is None else standing.step % recipe.save_every == 0
        if better or to_save or standing.seconds - self.saved_at[1] > SECONDS_BETWEEN_SAVES:
            self.save()

    def compare(self) -> bool:
        """Evaluates; returns whether the model is the best so far."""
        if self.evaluate is None:
            return False
        found = self.evaluate()
        standing = self.standing
        standing.evaluations.append({"step": standing.step, **found})
        better = improves(found, None if standing.best is None else standing.best["scores"])
        if better:
            metric = chosen_by(found)
            standing.best = {"step": standing.step, "metric": metric, "value": found[metric], "scores": found}
        scores = ", ".join(f"{name} {value:.4g}" for name, value in found.items())
        self.reporter.say(f"After step {standing.step}: {scores}{', the best so far' if better else ''}.")
        if self.tracking is not None:
            self.tracking.evaluation(standing.step, found)
        self.show("running")
        return better

    def show(self, state: State) -> None:
        """Writes the report, if there is one."""
        if self.report is not None and self.accelerator.is_main_process:
            self.report.write(self.standing, state)

    def save(self) -> None:
        """Writes a checkpoint of the present step, unless it has one."""
        standing = self.standing
        if self.saved_at[0] != standing.step:
            self.stepper.placed.gather()
            optimiser = self.stepper.placed.state_of(self.stepper.optimiser)
            save(self.model, self.adapters, optimiser, standing, self.facts, self.checkpoints, self.accelerator)
        self.saved_at = standing.step, standing.seconds

    # Ending.

    def stop(self) -> Result:
        """Leaves everything to go on from."""
        self.show("stopped")
        return self.result(None)

    def finish(self) -> Result:
        """Puts the best model into the output folder."""
        standing = self.standing
        evaluated = bool(standing.evaluations) and standing.evaluations[-1]["step"] == standing.step
        if not evaluated:
            self.compare()
        self.save()
        chosen = self.checkpoints.path(standing.step if standing.best is None else standing.best["step"])
        with together(self.accelerator):
            if chosen != self.checkpoints.path(standing.step) or self.adapters.layers:
                self.adapters.detach()
                load_weights(self.model, chosen)
            if self.accelerator.is_main_process:
                documents = {RESULT_FILE: self.document(), RECIPE_FILE: written(self.recipe)}
                self.checkpoints.publish(self.model, documents, chosen / ADAPTERS)
        if self.report is not None:
            look = self.report.looker(standing.step if standing.best is None else standing.best["step"])
            generation_scores(self.model, self.report.pairs, None, self.accelerator, look)
            self.show("done")
        return self.result(self.checkpoints.output)

    def document(self) -> str:
        """training.json: the recipe as it was resolved, and what came of it."""
        standing = self.standing
        found = {
            "recipe": self.recipe.to_dict(),
            "examples": len(self.examples),
            "steps": standing.step,
            "seconds": standing.seconds,
            "best": standing.best,
            "evaluations": standing.evaluations,
            "versions": {"conjoin": conjoin.__version__, "torch": str(torch.__version__)},
        }
        return json.dumps(found, indent=2) + "\n"

    def result(self, path: Path | None) -> Result:
        """What the run did."""
        standing = self.standing
        return Result(
            path=path,
            newest=self.checkpoints.path(self.saved_at[0]),
            steps=standing.step,
            seconds=standing.seconds,
            best=standing.best,
            losses=list(standing.losses),
            evaluations=list(standing.evaluations),
            signal=None if path is not None else self.signal,
        )
