"""A run: the folder in which a training lives, and the parts that are needed to train.

runs/NAME/config.json       every setting, and name, size and SHA-256 of the data
          tokenizer.json
          log.jsonl         what happened
          report.html       the same as a page
          checkpoints/      the last and the best
"""

import json
import os
import shlex
import shutil
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tinyllm.data import Corpus, load_corpus, token_array
from tinyllm.errors import UserError
from tinyllm.files import atomic_write_text, remove_leftovers
from tinyllm.models.gpt import GPT, GPTConfig
from tinyllm.nn import quantize
from tinyllm.tokenizer import Tokenizer, load_tokenizer, make_tokenizer
from tinyllm.train.checkpoint import list_checkpoints, load_arrays, read_state
from tinyllm.train.config import RunConfig, flatten
from tinyllm.train.log import RunLog
from tinyllm.train.settings import known_settings, make_config

FACTS = {  # what config.json remembers about the data and the tokenizer, under "found"
    "data": str,
    "bytes": int,
    "sha256": str,
    "train_tokens": int,
    "val_tokens": int,
    "vocab_size": int,
    "tokenizer_sha256": str,
    "entropy_per_char": (float, type(None)),
}


def sound_records(mine):
    """Whether this is a list of what `course.mine` records of a student's functions."""
    keys = {"op": str, "lesson": int, "sha256": str}
    return isinstance(mine, list) and all(
        isinstance(record, dict) and all(isinstance(record.get(key), kind) for key, kind in keys.items())
        for record in mine
    )


class Run:
    """The folder of a run: where everything is, and what it remembers."""

    def __init__(self, folder):
        self.folder = Path(folder)
        self.config = self.folder / "config.json"
        self.tokenizer = self.folder / "tokenizer.json"
        self.log = RunLog(self.folder / "log.jsonl")
        self.report = self.folder / "report.html"
        self.checkpoints = self.folder / "checkpoints"

    def _files(self):
        return [self.config, self.checkpoints, self.log.path, self.report, self.tokenizer]

    def holds_something(self):
        """Say whether a run, or what is left of one, is in the folder."""
        return any(path.exists() for path in self._files())

    def check_writable(self):
        """Raise UserError when the folder could not be written, without writing anything."""
        place = self.folder.absolute()
        while not place.exists() and place != place.parent:
            place = place.parent
        if not place.is_dir():
            raise UserError(f"cannot write the run to {self.folder}: {place} is not a folder")
        if not os.access(place, os.W_OK | os.X_OK):
            raise UserError(f"cannot write the run to {self.folder}: no permission to write in {place}")

    def create(self, experiment):
        """Start afresh: remove what a former run left, then write the tokenizer, and config.json last."""
        with self.rewritten():
            experiment.tokenizer.save(self.tokenizer)
            self.write_config(experiment)

    @contextmanager
    def rewritten(self):
        """Remove what a former run left; the block then writes a new one, and its config.json last.

        So a folder with a config.json is a whole run, however early it was interrupted.
        """
        try:
            self.checkpoints.mkdir(parents=True, exist_ok=True)
            for path in self._files():  # config.json first: from here on until the end, there is no run
                if path.is_dir():
                    shutil.rmtree(path)
                else:
                    path.unlink(missing_ok=True)
            self.checkpoints.mkdir()
            remove_leftovers(self.folder)
        except OSError as error:
            raise UserError(f"cannot write the run to {self.folder}: {error.strerror or error}") from error
        yield

    def write_config(self, experiment):
        """Write config.json: the settings, and what they met (data and tokenizer by SHA-256)."""
        self.save_config(experiment.config, experiment.facts())

    def save_config(self, config, facts):
        """Write config.json from its two parts, a RunConfig and what `read_config` calls facts."""
        content = config.nested() | {"found": facts}
        atomic_write_text(self.config, json.dumps(content, indent=2, ensure_ascii=False) + "\n")

    def read_config(self):
        """Return (RunConfig, facts) from config.json, checked in full.

        Raises UserError when it is missing or damaged.
        """
        try:
            content = json.loads(self.config.read_bytes())
            facts = content.pop("found")
            settings = flatten(content)
            if different := sorted(settings.keys() ^ known_settings().keys()):
                raise ValueError(f"the setting {different[0]} is missing or unknown")
            if wrong := [name for name, kind in FACTS.items() if not isinstance(facts[name], kind)]:
                raise ValueError(f"found.{wrong[0]} is {facts[wrong[0]]!r}")
            if not sound_records(facts.get("mine", [])):
                raise ValueError(f"found.mine is {facts['mine']!r}")
            if facts.get("bits") not in (None, 8, 4):
                raise ValueError(f"found.bits is {facts['bits']!r}, where 8 or 4 belongs")
            return make_config(settings), facts
        except OSError as error:
            raise UserError(
                f"{self.folder} holds no run: cannot read config.json ({error.strerror})"
            ) from error
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise UserError(f"{self.config} is damaged: {error}") from error

    def read_tokenizer(self):
        """Return the run's tokenizer.

        Raises UserError when it is not the one that the model was trained with.
        """
        _, facts = self.read_config()
        tokenizer = load_tokenizer(self.tokenizer)
        if tokenizer.fingerprint() != facts["tokenizer_sha256"]:
            raise UserError(
                f"{self.tokenizer} is not the tokenizer that this run was trained with: its SHA-256 differs"
            )
        return tokenizer

    def last_checkpoint(self):
        """Return the path of the newest checkpoint, or None."""
        found = list_checkpoints(self.checkpoints)
        return found[max(found)] if found else None

    def best_checkpoint(self):
        """Return the path of the checkpoint with the lowest validation loss, or None when there is none."""
        last = self.last_checkpoint()
        if last is None:
            return None
        best = read_state(last)["progress"]["best_step"]
        return list_checkpoints(self.checkpoints).get(best, last)


@dataclass
class Experiment:
    """What a `RunConfig` becomes when it meets the world: everything that a `Trainer` needs."""

    config: RunConfig
    corpus: Corpus
    tokenizer: Tokenizer
    model: GPT
    train_tokens: np.ndarray
    val_tokens: np.ndarray
    mine: tuple = ()  # which ops ran on a student's functions: what `course.mine` records of each

    def facts(self):
        """Return what was read: name, size and SHA-256 of data and tokenizer, for config.json and the log."""
        mine = {"mine": list(self.mine)} if self.mine else {}
        return mine | {
            "data": self.corpus.name,
            "bytes": self.corpus.size,
            "sha256": self.corpus.sha256,
            "train_tokens": len(self.train_tokens),
            "val_tokens": len(self.val_tokens),
            "vocab_size": self.tokenizer.vocab_size,
            "tokenizer_sha256": self.tokenizer.fingerprint(),
            "entropy_per_char": self.corpus.entropy_per_char,
        }


def prepare(config, corpus=None, tokenizer=None, progress=None):
    """Read the data, make the tokenizer and the model, and check that they fit together; no run is touched.

    `corpus` and `tokenizer` are given where they are there already: a resumed run never trains its tokenizer
    again. `progress` goes to the tokenizer's training. Raises UserError.
    """
    corpus = corpus or load_corpus(config.data)
    if config.tokenizer == "char":
        corpus.text()  # raises with the name of the file, and offers the byte tokenizer
    tokenizer = tokenizer or make_tokenizer(config.tokenizer, corpus.data, progress)
    corpus.check_tokenizer(tokenizer)
    model = GPT(GPTConfig(vocab_size=tokenizer.vocab_size, **config.model), seed=config.seed)
    train, val = corpus.split(config.train.val_fraction)
    context = model.config.context
    parts = {}
    for name, text in (("training", train), ("validation", val)):
        parts[name] = tokens = token_array(text, tokenizer)
        if len(tokens) < context + 1:
            raise UserError(
                f"the {name} part of {corpus.name} has {len(tokens)} tokens, and a context of {context} "
                f"needs at least {context + 1}: take more text, or a smaller --set model.context"
            )
    return Experiment(config, corpus, tokenizer, model, parts["training"], parts["validation"])


def reopen(run, config):
    """Prepare an existing run to go on, with the settings `config`.

    Raises UserError when its data has changed.
    """
    _, facts = run.read_config()
    if facts.get("bits"):
        raise UserError(
            f"{run.folder} holds weights of {facts['bits']} bits, which cannot be trained: "
            "go on with the run that it was made from"
        )
    remove_leftovers(run.folder)
    corpus = load_corpus(config.data)
    if corpus.sha256 != facts["sha256"]:
        raise UserError(
            f"the data has changed since this run began: SHA-256 {corpus.sha256[:12]}... now, "
            f"{facts['sha256'][:12]}... then; bring it back, or start a new run"
        )
    return prepare(config, corpus, run.read_tokenizer())


def load_run(folder, which="best"):
    """Open a trained model: `model, tokenizer, config = tl.load("runs/stories-nano")`.

    `which` is "best" (lowest validation loss) or "last". The model is in evaluation mode; config is a
    `RunConfig`. The model of a quantised run has quantised layers. Raises UserError, in one line that names
    the file, on whatever is missing or damaged.
    """
    if which not in ("best", "last"):
        raise ValueError(f'which must be "best" or "last", got {which!r}')
    run = Run(folder)
    config, facts = run.read_config()
    tokenizer = run.read_tokenizer()
    if tokenizer.vocab_size != facts["vocab_size"]:
        raise UserError(f"{run.tokenizer} has {tokenizer.vocab_size} tokens, the model {facts['vocab_size']}")
    path = run.best_checkpoint() if which == "best" else run.last_checkpoint()
    if path is None:
        resume = f"tinyllm train --out {shlex.quote(str(folder))} --resume"
        raise UserError(f"{folder} holds no checkpoint yet: train it first with `{resume}`")
    model = GPT(GPTConfig(vocab_size=tokenizer.vocab_size, **config.model), seed=config.seed)
    if facts.get("bits"):
        quantize(model, facts["bits"])
    load_arrays(path, "model", model.load_state_dict)
    return model.eval(), tokenizer, config
