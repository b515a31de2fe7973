"""Implement `tinyllm trace`, which shows what happens inside a model, and where two models differ."""

from pathlib import Path

from tinyllm.cli.command import command
from tinyllm.cli.opening import chosen
from tinyllm.cli.text import typed
from tinyllm.errors import UserError
from tinyllm.report.terminal import printable
from tinyllm.report.trace import describe_differences, examine, observe, take_text
from tinyllm.report.trace.page import write_page
from tinyllm.runs import open_model


@command("trace")
def trace(run: str | None = None, *, prompt: str = "", tokens: int = 20, out: str | None = None,
          diff: list[str] | None = None) -> None:
    """Show what happens inside a model on a text, or where two models differ.

    Write an HTML page: how surprising each token was and what the model expected instead, where its heads
    look, what each layer would predict, every op with shapes and FLOPs, and the KV cache.

    With --diff RUN RUN, show where two runs first differ on the text: which op, in which layer, how much.

    RUN             a run, or `shipped`; the newest in runs/ if not given
    --prompt TEXT   the text, or its beginning
    --tokens N      how many tokens the model adds, each the likeliest
    --out FILE      the page (default RUN/trace.html); --diff writes no page
    --diff RUN ...  compare two runs

    example:
      tinyllm trace runs/stories-laptop --prompt "Once upon a time"
      tinyllm trace --diff runs/stories-laptop runs/stories-laptop-int8 --prompt A
    """
    runs = [chosen(run, shipped=True)] if diff is None else [*([run] if run else []), *diff]
    if diff is not None and (len(runs) != 2 or out):
        named = ", ".join(runs) + ", --out" * bool(out)
        raise UserError(f"--diff compares two runs and writes no page; got {named}")
    opened = [open_model(folder) for folder in runs]
    model, tokenizer = opened[0].model, opened[0].tokenizer
    ids, given = take_text(model, tokenizer, typed(prompt), tokens)
    if diff is None:
        folder = Path(runs[0]) if Path(runs[0]).is_dir() else Path()  # the shipped model has no folder here
        page = Path(out or folder / "trace.html")
        size = write_page(examine(model, tokenizer, ids, given), Path(runs[0]).absolute().name, page)
        text = f"wrote {page}, {size / 1000:,.0f} kB: open it in a browser"
    elif len({each.tokenizer.fingerprint() for each in opened}) == 2:
        raise UserError(f"{runs[0]} and {runs[1]} have different tokenizers: no text is the same to both")
    else:
        ids = ids[: opened[1].model.config.context]
        found = describe_differences(*(observe(each.model, ids) for each in opened))
        text = f"A  {runs[0]}\nB  {runs[1]}\non {len(ids)} tokens\n\n{found}"
    print(printable(text))
