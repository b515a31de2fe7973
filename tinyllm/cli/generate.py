"""Implement `tinyllm generate`, which lets a trained model continue a text."""

from json import dumps
from typing import Any

from tinyllm.align.reward import open_judge, score_texts
from tinyllm.cli.command import command
from tinyllm.cli.opening import Which, add_sampling, open_to_write
from tinyllm.cli.text import typed, write
from tinyllm.data import read_picture
from tinyllm.decode import fill
from tinyllm.decode.beams import beam_search
from tinyllm.decode.generate import stream
from tinyllm.decode.sampling import Sampling
from tinyllm.errors import UserError
from tinyllm.report.terminal import printable
from tinyllm.runs.run import find_origin
from tinyllm.tokenizer.text import TextStream, read_prompt

INTERRUPTED = 130  # the exit code of a program that Ctrl-C ended


@command("generate", extend=add_sampling)
def generate(run: str | None = None, *, prompt: str = "", suffix: str | None = None, samples: int = 1,
             tokens: int = 200, beams: int = 0, best_of: int = 0, by: str = "", picture: str = "",
             json: bool = False, which: Which = "best", **values: Any) -> int:
    """Continue a text with a trained model.

    The first continuation is shown while the model writes it. Ctrl-C stops.
    After training with `sft`, the model answers the prompt and stops at the answer's end.
    Models such as bert fill in each [MASK], or name a class; t5 answers the prompt.

    RUN             a run, a model's folder, or `shipped`; if left out, the newest run
                    in runs/, or the model that comes with tinyllm if there is none
    --prompt TEXT   the beginning; without it the model makes one up
    --suffix TEXT   the text after a gap, which the model fills (see pretrain.middle)
    --samples N     how many continuations
    --tokens N      how many tokens at most
    --beams N       beam search: keep the N likeliest beginnings
    --best-of N     write N texts, and show the one that the reward model likes best
    --by REWARD     the reward model: a run of `tinyllm train reward`
    --picture FILE  show the model a picture: a PPM file, or one of world:caption
    --json          print one JSON object at the end, with token ids
    --which         which checkpoint

    example:
      tinyllm generate runs/stories-laptop --prompt "Once" --tokens 200 --top-k 50
    """
    if samples < 1:
        raise UserError(f"--samples must be at least 1, got {samples}")
    if bool(by) != (best_of > 0) or (by and (samples > 1 or beams or suffix is not None or picture)):
        raise UserError("--best-of needs a number above 0 and --by REWARD, and no --samples, --beams, "
                        "--suffix or --picture")
    judge, n = open_judge(find_origin(by)) if by else None, best_of or samples
    opened, drawn = open_to_write(run, which, values, bool(beams))
    if opened.model.objective == "masked" and not picture:
        if suffix is not None or beams or samples > 1 or by:
            raise UserError("an encoder reads a whole text: leave out --suffix, --beams, --samples and --by")
        return _read_whole(opened, prompt, json)
    asked, prompt = prompt, prompt + (opened.frame.separator if prompt else "")
    if picture and (beams or suffix is not None):
        raise UserError(f"--{'beams' if beams else 'suffix'} reads no pictures: leave it out")
    shown = read_picture(picture) if picture else None
    is_turn, said = opened.frame.chat and asked and suffix is None, typed(asked).decode("utf-8", "replace")
    given = opened.frame.prompt(opened.tokenizer, said) + opened.model.end_ids if is_turn else typed(prompt)
    laid_out = opened.lay_out(given, tokens, None if suffix is None else typed(suffix), shown)
    options: dict[str, Any] = {"max_tokens": tokens, "n": n, "tokenizer": opened.tokenizer} | drawn | laid_out
    options["stop"], given = drawn["stop"] + laid_out.get("stop", []), options.pop("prompt")
    texts: list[dict] = _searched(opened, given, beams, options) if beams else [
        {"text": "", "tokens": [], "finish": "length"} for _ in range(n)]
    steps = iter(()) if beams else stream(opened.model, [given], **options)
    say = _keep if json else write
    try:
        _show(prompt, suffix or "", steps, texts, _keep if judge else say)
    except KeyboardInterrupt:
        say("\n")
        return INTERRUPTED
    if judge:
        written, ended = [x["text"] for x in texts], [x["finish"] == "stop" for x in texts]
        scores = score_texts(judge, [asked] * n, written, ended).tolist()
        texts = [texts[scores.index(max(scores))] | {"score": max(scores)}]
        _show(prompt, "", (), texts, say)
    if json:
        around = {"prompt": prompt, "suffix": suffix, "seed": values["seed"], "samples": texts}
        print(dumps({name: x for name, x in around.items() if x is not None}, ensure_ascii=False))
    return 0


def _keep(text, bold=False):
    """Show nothing of a text."""


def _searched(opened, prompt, beams, options):
    """Return the n best texts that beam search finds."""
    model, tokenizer, stop = opened.model, opened.tokenizer, options["stop"]
    if options["sampling"] != Sampling():
        raise UserError("--beams draws nothing: leave out --temperature and what else is about drawing")
    found = beam_search(model, [prompt], max_tokens=options["max_tokens"], beams=beams, stop=stop,
                        tokenizer=tokenizer, length_penalty=model.generation.get("length_penalty", 1.0))[0]
    ends, texts = [*stop, *model.end_ids], []
    before = [] if model.is_encoder_decoder else read_prompt(model.config, 0, prompt, tokenizer)
    for ids, score in found[: options["n"]]:
        stopped = ids[-1] in ends or tokenizer.decode(ids[-1:]) in ends
        text = TextStream(tokenizer, before=before)  # decoded alone, the first token may lose its space
        shown = "".join(map(text.push, ids[:-1] if stopped else ids)) + text.finish()
        texts.append({"text": shown, "tokens": ids, "score": score,
                      "finish": "stop" if stopped else "length"})
    return texts


def _show(prompt, suffix, steps, texts, say):
    """Show the first text while it is written, then the others; add each step to the text of its row."""
    for row, shown in enumerate(texts):
        if len(texts) > 1:
            say(("\n" if row else "") + f"--- {row + 1} of {len(texts)}\n")
        say(prompt, bold=True)
        say(shown["text"])
        for step in steps:  # the steps of all rows; none are left after the first text
            sample = texts[step.index]
            sample["text"] += step.text
            sample["tokens"].append(step.token)
            sample["finish"] = step.finish
            if step.index == 0:
                say(step.text)
        say(suffix, bold=True)
    say("\n")


def _read_whole(opened, prompt, as_json):
    """Show an encoder's result on a text: the text with its masks filled in, or its classes."""
    model, tokenizer = opened.model, opened.tokenizer
    if model.lm_head is None:
        title, rows = prompt, [fill.classes(model, tokenizer, typed(prompt))]
    else:
        title, rows = fill.fill(model, tokenizer, typed(prompt))
    if as_json:
        print(dumps({"prompt": prompt, "text": title, "guesses": rows}, ensure_ascii=False))
        return 0
    print(printable(title))
    for guesses in rows:
        print("  " + "  ".join(f"{printable(text.strip() or repr(text))} {p:.2f}" for text, p in guesses))
    return 0
