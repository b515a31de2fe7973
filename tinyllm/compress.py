"""Making a trained model smaller: a run whose weights are rounded to 8 or 4 bits.

A quantised run is a folder like any other, with one checkpoint, and config.json says `found.bits`. It can
generate and chat; it cannot go on training.
"""

from dataclasses import dataclass
from pathlib import Path

from tinyllm.data import Corpus, load_corpus, token_array
from tinyllm.errors import UserError
from tinyllm.nn import quantize
from tinyllm.train.checkpoint import read_state, save_checkpoint
from tinyllm.train.evaluate import count_characters, evaluate
from tinyllm.train.run import Run, load_run


@dataclass(frozen=True)
class Quantized:
    """What became of a run: bytes of weights, and nats per token where its data was at hand."""

    run: Run
    bytes_before: int
    bytes_after: int
    loss_before: float | None
    loss_after: float | None
    no_loss: str  # why there are no losses; else empty


def quantize_run(source, bits, out, which="best", overwrite=False):
    """Write the model of the run `source`, with weights of 8 or 4 bits, as a run in the folder `out`.

    The validation loss is measured before and after, on the run's own data if that is still what it was.
    Raises UserError, before anything is written, when the run or the folder cannot be used.
    """
    source, run = Run(source), Run(out)
    check_folders(source, run, overwrite)
    config, facts = source.read_config()
    if facts.get("bits"):
        raise UserError(f"{source.folder} is quantised already: give the run that it was made from")
    model, tokenizer, _ = load_run(source.folder, which)
    path = source.best_checkpoint() if which == "best" else source.last_checkpoint()
    tokens, no_loss = validation_tokens(config, facts, tokenizer)
    before, bytes_before = loss(model, tokens, config, tokenizer), size(model)
    quantize(model, bits)
    after, bytes_after = loss(model, tokens, config, tokenizer), size(model)
    with run.rewritten():
        tokenizer.save(run.tokenizer)
        saved = read_state(path)
        state = {"progress": saved["progress"] | {"best_step": saved["step"]}, "log_bytes": 0}
        save_checkpoint(run.checkpoints, saved["step"], {"model": model.state_dict()}, state)
        run.save_config(config, facts | {"bits": bits})
    return Quantized(run, bytes_before, bytes_after, before, after, no_loss)


def check_folders(source, run, overwrite):
    """Raise UserError unless a run can be written, to another folder than the one it is made from."""
    run.check_writable()
    if run.folder.resolve() == source.folder.resolve():
        raise UserError(f"{run.folder} is the run itself: choose another --out")
    if run.holds_something() and not overwrite:
        raise UserError(f"{run.folder} holds a run already: replace it (--overwrite) or choose another --out")


def size(model):
    """The bytes of all arrays that a model saves."""
    return sum(array.nbytes for array in model.state_dict().values())


def validation_tokens(config, facts, tokenizer):
    """Return (tokens, "") of the data that the run was not trained on, or (None, why not)."""
    if config.data == "-":
        return None, "the run's data came from standard input"
    try:
        corpus: Corpus = load_corpus(config.data)
    except UserError as error:
        return None, f"the run's data is not at hand: {error}"
    if corpus.sha256 != facts["sha256"]:
        return None, f"{config.data} is no longer the data that the run was trained on: its SHA-256 differs"
    return token_array(corpus.split(config.train.val_fraction)[1], tokenizer), ""


def loss(model, tokens, config, tokenizer):
    """The mean surprise at validation tokens, in nats per token, or None without any."""
    if tokens is None:
        return None
    train = config.train
    return evaluate(model, tokens, train.eval_windows, train.batch, count_characters(tokenizer))[0]


def default_folder(source, bits):
    """Where a quantised run goes unless told otherwise: runs/stories-nano -> runs/stories-nano-int8."""
    folder = Path(source)
    return folder.with_name(f"{folder.resolve().name}-int{bits}")
