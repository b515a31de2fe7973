"""From settings to something that can be trained: data, tokenizer and model are read, made, and fitted."""

import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tinyllm.data import load_corpus
from tinyllm.errors import UserError
from tinyllm.generate import generate
from tinyllm.models import build, from_pretrained
from tinyllm.nn.quantized import QuantizedLinear
from tinyllm.sampling import Sampling
from tinyllm.tokenizer import Tokenizer, load_tokenizer, make_tokenizer
from tinyllm.train import events
from tinyllm.train.config import RunConfig, model_settings
from tinyllm.train.loop import Every, Loop, train
from tinyllm.train.optimizer import AdamW, decay_groups
from tinyllm.train.recipe import Plan, find_recipe
from tinyllm.train.run import Facts, Run, load_run
from tinyllm.train.schedule import learning_rate


@dataclass
class TrainSetup:
    """Everything that a run trains with, built from a RunConfig by `prepare`.

    `text` begins with words of the data.
    """

    config: RunConfig
    tokenizer: Tokenizer
    model: Any
    plan: Plan
    facts: Facts
    text: bytes

    def train(
        self, run: Run | None = None, resume: bool = False, stop: Callable[[], bool] | None = None
    ) -> Loop:
        """Return what trains and yields events, as `train` does; `run` keeps log and checkpoints.

        `resume` goes on from the last of them. When `stop()` is true, the run saves itself and ends after the
        step at hand. Raises UserError as
        `train` does, and when the checkpoint is damaged.
        """
        train_config = self.config.train
        optimizer = self.optimizer()
        progress = None
        if run and resume:
            progress = run.restore(self.model, optimizer, self.plan, train_config.steps)
            run.write(self.config, self.facts)  # steps may be more than before
        return train(
            self.model,
            self.plan.batches,
            self.plan.loss,
            optimizer,
            **self.loop_settings(),
            evaluate=self.plan.evaluate,
            sample=self.sample,
            checkpoint=run,
            every=Every(
                train_config.eval_every,
                train_config.sample_every,
                train_config.log_every,
                train_config.checkpoint_every,
            ),
            about=dataclasses.asdict(self.facts) | (run.notes if run else {}),
            progress=progress,
            stop=stop,
        )

    def loop_settings(self) -> dict[str, Any]:
        """Return the arguments of `train` that decide an update."""
        config = self.config.train
        return {
            "steps": config.steps,
            "schedule": lambda step: learning_rate(step, config),
            "accumulate": config.accumulate,
            "clip": config.clip,
            "seed": self.config.seed,
        }

    def optimizer(self) -> AdamW:
        """Return a new optimizer for the model."""
        config = self.config.train
        groups = decay_groups(self.model.parameters(), config.weight_decay)
        return AdamW(groups, config.lr, (config.beta1, config.beta2), config.eps)

    def steps(self) -> Iterator[events.Stepped]:
        """Train a new model from the beginning, yielding its steps; nothing is evaluated or written."""
        model = build(self.model.config, seed=self.config.seed)
        fresh = dataclasses.replace(self, model=model)
        happened = train(model, self.plan.batches, self.plan.loss, fresh.optimizer(), **self.loop_settings())
        return (event for event in happened if isinstance(event, events.Stepped))

    def prompt(self) -> list[int]:
        """Return the tokens that a sample begins with: of `sample_prompt`, or else the recipe's."""
        try:
            return self.tokenizer.encode(self.config.train.sample_prompt or "") or self.plan.prompt
        except UserError:
            return self.plan.prompt

    def sample(self, model: Any) -> str:
        """Let a model write, always with the same random numbers, so that samples show what it learnt."""
        config, prompt = self.config.train, self.prompt()
        sampling = Sampling(temperature=config.sample_temperature)
        length, seed = config.sample_tokens, self.config.seed
        tokens = generate(model, [prompt], max_tokens=length, sampling=sampling, seed=seed)[0]
        return self.tokenizer.decode([*prompt, *tokens])


def prepare(
    config: RunConfig,
    corpus: Any = None,
    tokenizer: Tokenizer | None = None,
    progress: Callable[[int, int], None] | None = None,
    fresh: bool = True,
) -> TrainSetup:
    """Read the data, make tokenizer and model, and check that they fit together; no run is touched.

    `corpus` and `tokenizer` are given where they are there already: a resumed run never trains its tokenizer
    again. `progress` goes to the tokenizer's training. Without `fresh`, the weights will come from a
    checkpoint, and those of `start` are not read. Raises UserError.
    """
    corpus = corpus or load_corpus(config.data)
    model = None
    if config.start and fresh:
        model, tokenizer = open_start(config.start)
        config = dataclasses.replace(config, model=model_settings(model.config))
    if config.tokenizer == "char" and tokenizer is None:
        corpus.text()  # raises with the name of the file, and offers the byte tokenizer
    chosen = find_recipe(config.recipe)
    if tokenizer is None:
        data = chosen.text(config, corpus) if chosen.text else corpus.data
        tokenizer = make_tokenizer(config.tokenizer, data, progress)
    corpus.check_tokenizer(tokenizer)
    model = model or build(config.model_config(tokenizer.vocab_size), seed=config.seed)
    plan = chosen.build(config, corpus, tokenizer, model)
    facts = Facts(
        data=corpus.name,
        bytes=corpus.size,
        sha256=corpus.sha256,
        train_tokens=plan.train_tokens,
        val_tokens=plan.val_tokens,
        vocab_size=tokenizer.vocab_size,
        tokenizer_sha256=tokenizer.fingerprint(),
        entropy_per_char=corpus.entropy_per_char,
    )
    return TrainSetup(config, tokenizer, model, plan, facts, corpus.data[:200])


def open_start(place: str) -> tuple[Any, Tokenizer]:
    """Return (model, tokenizer) of a run, or of a folder as Hugging Face has it. Raises UserError."""
    if Run(place).holds_something():
        model, tokenizer, _ = load_run(place)
    else:
        model, tokenizer = from_pretrained(place), load_tokenizer(Path(place) / "tokenizer.json")
    if any(isinstance(module, QuantizedLinear) for _, module in model.named_modules()):
        raise UserError(
            f"{place} holds quantised weights, which cannot be trained: give what it was made from"
        )
    return model, tokenizer


def reopen(run: Run, config: RunConfig) -> TrainSetup:
    """Prepare an existing run to go on, with the settings `config`.

    Raises UserError when its data has changed, or its weights are quantised.
    """
    _, facts = run.read_config()
    if bits := run.notes.get("bits"):
        raise UserError(
            f"{run.folder} holds weights of {bits} bits, which cannot be trained: "
            "go on with the run that it was made from"
        )
    corpus = load_corpus(config.data)
    if corpus.sha256 != facts.sha256:
        raise UserError(
            f"the data has changed since this run began: SHA-256 {corpus.sha256[:12]}... now, "
            f"{facts.sha256[:12]}... then; bring it back, or start a new run"
        )
    return prepare(config, corpus, run.read_tokenizer(), fresh=run.last_checkpoint() is None)
