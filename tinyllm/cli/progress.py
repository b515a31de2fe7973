"""Show a training as it happens: a bar in a terminal, plain lines in a file."""

import shutil
import sys
from shlex import quote
from typing import Any

from tqdm import tqdm

from tinyllm.errors import UserError
from tinyllm.report.run import characters_per_token
from tinyllm.report.terminal import entry, indented, paragraph, printable
from tinyllm.runs import Run, TrainSetup, find_recipe, read_log
from tinyllm.runs.plan import doctor
from tinyllm.train import events
from tinyllm.train.evaluate import perplexity

BAR = "{percentage:3.0f}% |{bar}| {n_fmt}/{total_fmt} {desc} {remaining} left"


class Display:
    """Show a training run on a terminal: its plan, progress, samples and losses, and what to do next."""

    def __init__(self, run: Run, setup: TrainSetup) -> None:
        self.run, self.setup, self.steps = run, setup, setup.config.train.steps
        self.size = 1.0  # characters per token if known, so that losses are shown per character
        self.val_loss: float | None = None
        self.unit = find_recipe(setup.config.recipe).unit
        # Without nrows, nothing is shown if the size of the terminal is unknown.
        self.bar = tqdm(total=self.steps, bar_format=BAR, mininterval=0.2, disable=not sys.stderr.isatty(),
                        nrows=shutil.get_terminal_size().lines)

    def say(self, text: str) -> None:
        """Print a text above the bar."""
        with tqdm.external_write_mode(file=sys.stdout):
            print(text, flush=True)

    def introduce(self) -> None:
        """Describe the training, the data and the plan."""
        config, facts, model = self.setup.config, self.setup.facts, self.setup.model
        floor, group = facts.entropy_per_char, self.setup.group
        whole = f"the bits of one with train.accumulate={config.train.accumulate}"
        divided = f"{group.size // group.copies} for each copy of the model"
        what = f"a {type(model).__name__} of {model.num_parameters():,} parameters"
        self.say(paragraph(printable(f"Train {what} for {self.steps:,} steps on {facts.data}."), further=0))
        rows = {
            "data": f"{facts.bytes:,} bytes, SHA-256 {facts.sha256[:16]}...; {facts.train_tokens:,} tokens "
                    f"to train on, {facts.val_tokens:,} to validate, {facts.vocab_size:,} different tokens",
            "plan": f"steps of {config.train.batch} x {model.config.context} tokens, "
                    f"learning rate {config.train.lr:g} ({config.train.schedule}), seed {config.seed}",
            "loss": "in " + self.unit.replace("token", "character")
                    + ("" if floor is None else f"; at best {floor:.3f}"),
            "MPI": f"{group.size} processes: {whole if group.copies == group.size else divided}"
                   if group.size > 1 else None,
            "DP": self.setup.private.guarantee() if self.setup.private else self.setup.plan.promise,
            "run": str(self.run.folder),
            "doctor": doctor(self.setup.plan, self.setup.plan.known),
        }
        lines = [entry(f"{name:<6} ", printable(text)) for name, text in rows.items() if text]
        self.say("\n".join(lines) + "\n")

    def show(self, event: Any) -> None:
        """Show an event of training. Some kinds of events are ignored."""
        match event:
            case events.Logged():
                self.logged(event.record)
            case events.Started() if event.step:
                self.say(f"going on after step {event.step:,}")
                self.size = characters_per_token(read_log(self.run.log.path)) or 1.0
                self.bar.initial = self.bar.n = event.step
            case events.Stepped():
                self.bar.update()
            case events.Refused():
                self.say(f"round {event.step}: {printable(event.text)}")
            case events.Stopped():
                saved = self.run.last_checkpoint() or "nothing, because no step was done"
                folder = quote(str(self.run.folder))
                self.say(f"\nstopped; saved: {saved}\ngo on with:  tinyllm train --out {folder} --resume")
            case events.Sampled() if event.step < self.steps:
                when = f"after {event.step:,} steps" if event.step else "before training"
                self.say(f"{when} it writes:\n{indented(printable(event.text), lines=4)}\n")

    def logged(self, record: dict) -> None:
        """Show a record's losses: in the bar, or without a bar as a line for each evaluation."""
        if (val := record["val_loss"]) is not None:
            self.val_loss, self.size = val, characters_per_token([record]) or 1.0
        named = {"loss": record["train_loss"], "val": self.val_loss}
        parts = [f"{name} {loss / self.size:.3f}" for name, loss in named.items() if loss is not None]
        if record["tokens_per_second"]:
            parts.append(f"{record['tokens_per_second']:,.0f} tok/s")
        self.bar.set_description_str(" ".join(parts))
        if self.bar.disable and val is not None:
            self.say("  ".join([f"step {record['step']:>{len(str(self.steps))}}/{self.steps}", *parts]))
        if val is not None and record["step"] and (said := doctor(self.setup.plan, record)):
            self.say(f"doctor  {said}")

    def conclude(self) -> None:
        """Print a summary of a finished run, from its log."""
        records = read_log(self.run.log.path)
        evaluated = [record for record in records if record.get("val_loss") is not None]
        if not evaluated:
            raise UserError(f"{self.run.log.path} has no evaluation: lines are missing; put the log back")
        last, floor = evaluated[-1], self.setup.facts.entropy_per_char
        nats, loss = last["val_loss"], last["val_loss_per_char"]
        more = f": perplexity {perplexity(nats)}" if self.unit == "nats per token" else ""
        lines = [f"validation loss {nats:.3f} {self.unit}{more}",
                 f"trained in {last['seconds']:,.0f} s, peak memory {last['peak_rss_mb'] or '?'} MiB"]
        if loss is not None:
            best = "" if floor is None else f"; the best possible on this text is {floor:.3f}"
            lines.insert(0, f"validation loss {loss:.3f} nats per character{best}")
        sample = next((record["text"] for record in reversed(records) if record["kind"] == "sample"), "")
        folder = quote(str(self.run.folder))
        chat = [] if self.setup.model.silent else [f"tinyllm chat {folder}", f"tinyllm eval {folder}"]
        judged = f"RUN --best-of 16 --by {folder}" if self.setup.model.objective == "scores" else folder
        longer = f"tinyllm train --out {folder} --resume --steps {2 * self.steps}"
        more_steps = [] if self.setup.config.private.epsilon else [longer]  # which privacy does not allow
        commands = [f"tinyllm generate {judged} --prompt TEXT", *chat, *more_steps, "tinyllm lesson"]
        self.say("\n".join(["", *lines, "", "it writes:", indented(printable(sample)), ""]))
        self.say("\n  ".join(["what next:", *commands]) + f"\nor look at {self.run.report} in a browser")
