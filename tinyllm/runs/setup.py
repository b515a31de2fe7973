"""Prepare a training run from its settings: read the data, and make the tokenizer and the model."""

import copy
import dataclasses
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from tinyllm.data import load_corpus
from tinyllm.decode.generate import stream
from tinyllm.errors import UserError
from tinyllm.models import Origin, build, family, family_of, from_pretrained, locate, names
from tinyllm.models.adapter import SCORE
from tinyllm.models.sizes import SIZE
from tinyllm.nn import adapt, adapters, bits_of, without_memory
from tinyllm.runs.checkpoint import naming
from tinyllm.runs.config import RunConfig, usual_preset
from tinyllm.runs.opened import Opened
from tinyllm.runs.plan import Plan
from tinyllm.runs.private import Private, Secret, private_plan
from tinyllm.runs.recipe import CHAT, NO_FRAME, Parts, Recipe, find_recipe
from tinyllm.runs.run import ORIGINS, Facts, Record, Run, find_origin, frame_of
from tinyllm.runs.start import hashed, open_start
from tinyllm.tokenizer import Tokenizer, make_tokenizer
from tinyllm.tokenizer.chat import read_chat_template
from tinyllm.train import ALONE, Group, Loop, events, loop_of
from tinyllm.train.memory import free_memory


@dataclass
class TrainSetup(Parts):
    """Everything that a training run needs. `prepare` makes it from a RunConfig."""

    plan: Plan
    facts: Facts
    group: Group = ALONE  # the processes that train this model together
    arrange: Callable[[Loop], Loop] = lambda loop: loop  # what it trains, over the processes
    private: Private | None = None

    def record(self, notes: dict[str, Any] | None = None) -> Record:
        """Return the content of a run.json."""
        origins = {name: getattr(self, name) for name in ORIGINS}
        promised = {"guarantee": self.private.guarantee()} if self.private else {}
        return Record(self.config, self.facts, self.frame, notes=(notes or {}) | promised, **origins)

    def train(self, run: Run | None = None, resume: bool = False,
              stop: Callable[[], bool] = lambda: False) -> Loop:
        """Return a loop that trains and yields events; the log and checkpoints are written into `run`.

        `resume` continues from the last checkpoint. When `stop()` is true, the loop saves a checkpoint and
        ends after the current step. Raises UserError when the last checkpoint is damaged.
        """
        group, notes = self.group, run.read().notes if run else {}
        if self.secret:
            group.broadcast(self.secret.seed, 0)
        loop = self._loop(self.model, self.plan, evaluate=self.plan.evaluate, sample=self.sample,
                          checkpoint=run, about=dataclasses.asdict(self.facts) | notes, stop=stop)
        if run and resume:
            for rank in range(group.size):  # one after the other, because `restore` also cuts the log
                if rank == group.rank:
                    loop.progress = run.restore(loop)
                group.gather(None)  # waits for the others
            if group.rank == 0:
                run.write(self.record(notes))  # the number of steps may have grown
        return self.arrange(loop)

    def finish(self) -> Opened:
        """Train to the end, without evaluations, samples and files; return the model, opened."""
        for _ in self.arrange(self._loop(self.model, self.plan)):
            pass
        return Opened(self.model.eval(), self.tokenizer, self.frame)

    def steps(self) -> Iterator[events.Stepped]:
        """Train all weights of a fresh model and yield the steps; nothing is evaluated or written.

        This setup does not change: the model is built again, and the plan, which may have a state, is copied.
        """
        fresh = build(self.model.config, seed=self.config.seed)
        fresh = find_recipe(self.config.recipe).adapt(fresh, self.corpus)
        happened = self._loop(fresh, copy.deepcopy(self.plan))
        return (event for event in happened if isinstance(event, events.Stepped))

    def steps_in(self, seconds: float, clock: Callable[[], float] = time.perf_counter) -> int:
        """Count the steps that this machine does in some seconds, with evaluations and samples; at least 1.

        First a fresh model trains for a twentieth of the seconds, which is included, too. Raises UserError
        for a recipe whose model draws what it learns from.
        """
        if hasattr(self.plan.batches, "state_dict"):
            raise UserError(f"{self.config.recipe} draws answers, which cannot be timed: give --steps")
        began, done = clock(), 0
        for _ in self.steps():
            done += 1
            if clock() - began > seconds / 20:
                break
        each, train = (clock() - began) / done, self.config.train
        for action, every in ((self.plan.evaluate, train.eval_every), (self.sample, train.sample_every)):
            before = clock()
            action(self.model)
            pause = clock() - before
            each, seconds = each + pause / every, seconds - 2 * pause  # also at the start and at the end
        return max(1, int((seconds - clock() + began) / each))

    def _loop(self, model, plan, **more):
        return loop_of(self.config.train, model, plan.batches, plan.loss, self.config.seed,
                       kind=plan.loop, group=self.group, private=self.private, secret=self.secret,
                       report=lambda batch: (plan.report(batch) if batch.tokens.size else {}) | plan.known,
                       **more)

    def sample(self, model: Any) -> str:
        """Generate a sample, always with the same random numbers, so that samples can be compared.

        The sample begins with `sample_prompt`, or with the prompt of the recipe. As in `tinyllm generate`, it
        ends where an answer ends, and shows no token that marks an end.
        """
        config, prompt, end = self.config.train, self.plan.prompt, model.end_ids
        if self.plan.sample:
            return self.plan.sample(model)
        if config.sample_prompt:
            with suppress(UserError):  # if characters are not in the vocabulary
                prompt = [*self.frame.prompt(self.tokenizer, config.sample_prompt), *end]
        opened = Opened(model, self.tokenizer, self.frame)
        steps = stream(model, [prompt], max_tokens=config.sample_tokens, sampling=opened.sampling,
                       stop=opened.stops, seed=self.config.seed, tokenizer=self.tokenizer)
        written = "".join(step.text for step in steps)
        return self.tokenizer.decode([i for i in prompt if i not in end]) + written


def prepare(config: RunConfig, corpus: Any = None, tokenizer: Tokenizer | None = None,
            progress: Callable[[int, int], None] | None = None, model: Any = None,
            begun: Record | None = None) -> TrainSetup:
    """Read the data, make tokenizer and model, and check that they fit together, without writing files.

        setup = tl.prepare(tl.make_config({"data": "book.txt", "tokenizer": "bpe:512", "train.steps": 500}))
        for event in setup.train():  # see tinyllm/train/events.py
            print(event)

    Pass `corpus`, `tokenizer` and `model` if they exist already, as when a run is resumed, and then also its
    run.json, as `begun`. `progress` is passed to the tokenizer's training. Raises UserError when the parts do
    not fit together.
    """
    corpus, recipe = corpus or load_corpus(config.data), find_recipe(config.recipe)
    places = {name: getattr(config if name == "start" else config.options, name, None) for name in ORIGINS}
    origins = {name: x if x is None else find_origin(x) for name, x in places.items()} if not begun else {
        name: getattr(begun, name) for name in ORIGINS}
    start = origins["start"]
    frame = begun.frame if begun else frame_of(start.folder) if start else NO_FRAME
    if start and config.start and not model:
        model, tokenizer = open_start(start, config.lora.rank > 0)
        config = dataclasses.replace(config, tokenizer=config.start, preset=usual_preset(model.model_type))
    origins = {name: hashed(origin) for name, origin in origins.items()}
    start = origins["start"]  # it was opened, which refuses a huge file
    tokenizer = tokenizer or new_tokenizer(config, corpus, recipe, progress)
    corpus.check_tokenizer(tokenizer)
    if not model:
        config = with_special_tokens(config, tokenizer)
        sizes = dataclasses.replace(config.model, vocab_size=tokenizer.vocab_size)
        check_memory(sizes, config.train.optimizer)
        model = build(sizes, seed=config.seed)
    if model.objective not in recipe.objectives:
        kind = model.model_type + (" reward model" if model.objective == "scores" else "")
        fitting = ", ".join(name for name in names() if family(name).objective in recipe.objectives)
        raise UserError(f"the recipe {recipe.name} cannot train a {kind}: it needs {fitting}")
    model = adapted(model, recipe, config, corpus, start)
    # As in a config that was read, vocab_size is the placeholder: run.json leaves it to the tokenizer.
    config = dataclasses.replace(config, model=dataclasses.replace(model.config, vocab_size=SIZE["max"]))
    if not model.silent:
        temperature, min_p = config.train.sample_temperature, config.train.sample_min_p
        drawn = {"do_sample": temperature > 0, "temperature": temperature or 1.0, "min_p": min_p}
        model.generation = dict(model.generation) | drawn
    if recipe.frame and not begun:
        if start and not tokenizer.chat:
            tokenizer.chat = read_chat_template(locate(start.folder), tokenizer)
        frame = recipe.frame(config, CHAT if tokenizer.chat and not any(frame) else frame)
    secret = Secret(config.private.seed) if config.private.epsilon else None
    parts = Parts(config, corpus, tokenizer, model, frame=frame, secret=secret, **origins)
    plan = recipe.build(parts)
    own = config.private.epsilon and plan.loop is Loop  # else the clients of a federation train privately
    private = make_private(parts, plan) if own else None
    facts = Facts(corpus.name, corpus.size, corpus.sha256, plan.train_tokens, plan.val_tokens,
                  tokenizer.vocab_size, tokenizer.fingerprint(), corpus.entropy_per_char)
    return TrainSetup(**vars(parts), plan=plan, facts=facts, private=private)


def reopen(run: Run, config: RunConfig) -> TrainSetup:
    """Prepare a run to go on with the settings `config`, or raise UserError if data or weights changed."""
    record = run.read()
    if made := [name for name in ("bits", "pruned", "merged") if record.notes.get(name)]:
        raise UserError(f"{run.folder} is a copy of a run ({made[0]} in run.json), which cannot be trained "
                        "any further: go on with the run that it was made from")
    corpus = load_corpus(config.data)
    if corpus.sha256 != (then := record.facts.sha256):
        raise UserError(f"the data has changed since this run began: SHA-256 {corpus.sha256[:12]}... now, "
                        f"{then[:12]}... then; bring it back, or start a new run")
    tokenizer, model = run.read_tokenizer(), None
    if last := run.last_checkpoint():
        with naming(last / "model.safetensors"):
            model = from_pretrained(last)
    return prepare(config, corpus, tokenizer, model=model, begun=record)


def make_private(parts: Parts, plan: Plan) -> Private:
    """Return how a loop trains a plan privately, and complete `parts`; UserError if rows are no examples."""
    config = parts.config
    if not plan.examples:
        raise UserError(f"private training draws examples, and {config.recipe} has none here: train on whole "
                        "documents (pretrain.documents=true), or by another recipe, such as sft")
    if config.train.precision != "float32":
        raise UserError("private training needs train.precision=float32: rounded, gradients may be longer")
    private = private_plan(config.private, plan.examples, config.train.batch, config.train.steps)
    private.secret = parts.secret
    private.examine(parts.model, plan.pair, plan.loss)
    parts.config = dataclasses.replace(config, private=private.settings)
    return private


def new_tokenizer(config: RunConfig, corpus: Any, recipe: Recipe, progress: Any = None) -> Tokenizer:
    """Train a tokenizer on a corpus, or load it from a file, and add the special tokens of the recipe."""
    if config.tokenizer == "char" or (corpus.data and config.tokenizer != "byte"):
        corpus.text()  # raises UserError for other data, and suggests the byte tokenizer
    data = recipe.text(config, corpus) if recipe.text else corpus.data
    tokenizer = make_tokenizer(config.tokenizer, data, progress)
    if recipe.prepare_tokenizer:
        recipe.prepare_tokenizer(tokenizer, config.options)
    return tokenizer


def with_special_tokens(config: RunConfig, tokenizer: Tokenizer) -> RunConfig:
    """Add the special tokens of a family to a tokenizer that lacks them; return settings with their ids."""
    cls = family_of(config.model)
    tokenizer.add_special_tokens(cls.special_tokens.values())
    ids = {name: tokenizer.special_tokens[cls.special_tokens[role]]
           for name, role in cls.token_settings.items()}
    return dataclasses.replace(config, model=dataclasses.replace(config.model, **ids))


def check_memory(settings: Any, optimizer: str) -> None:
    """Raise UserError if a new model's weights, gradients and optimizer state exceed the free memory."""
    with without_memory():
        count = build(settings, seed=None).num_parameters()
    free = free_memory()
    needed = (12 if optimizer == "muon" else 16) * count  # AdamW keeps two means of each, Muon one of most
    if free is not None and needed > free:
        raise UserError(f"training {count:,} parameters takes more than {needed / 2**30:,.1f} GiB of memory, "
                        f"and {free / 2**30:,.1f} GiB are free: choose a smaller model")


def adapted(model: Any, recipe: Recipe, config: RunConfig, corpus: Any, start: Origin | None) -> Any:
    """Return a model with the output layer that a recipe needs, and adapters if `lora.rank` asks for them.

    The adapters of a start are trained on. Raises UserError when these are others than `lora` asks for, the
    start is quantised while no adapter is asked for, or `lora.where` fits no layer.
    """
    known, lora = {name for name, _ in model.named_parameters()} - {SCORE}, config.lora
    for has in adapters(model).values():
        if (has.rank, has.alpha) != (lora.rank, lora.alpha):
            raise UserError(f"{config.start} is an adapter of lora.rank={has.rank} with lora.alpha="
                            f"{has.alpha:g}: give the same to train it on, or first `tinyllm merge` it")
    if bits_of(model) and not lora.rank:
        raise UserError(f"{config.start} holds quantised weights, which cannot be trained: train an adapter "
                        "(--set lora.rank=8), or start from the run that they were made from")
    if lora.where and (had := adapters(model)):
        with without_memory():
            asked = adapters(adapt(build(model.config, seed=None), where=lora.where.split(",")))
        if had.keys() != asked.keys():
            raise UserError(f"{config.start} is an adapter of other layers than lora.where={lora.where}: "
                            "leave that out to train it on, or first `tinyllm merge` it")
    model = recipe.adapt(model, corpus)
    if not (lora.rank and start) or adapters(model):
        return model
    model.origin = start
    new = [name for name, _ in model.named_parameters() if name not in known]
    return adapt(model, lora.rank, lora.alpha, lora.where.split(",") if lora.where else (), config.seed, new)
