"""Check the command line: help, one line for each mistake, and `@command`, which makes a parser."""

import re

import pytest

import tinyllm
from tinyllm.cli import COMMANDS, build_parser, command as commands, main
from tinyllm.runs.recipe import recipes

for name in COMMANDS:
    build_parser(name)  # imports the module that registers its commands
HELPS = [[], *map(list, commands.COMMANDS)]

MISTAKES = {  # command line -> part of the error message
    "lessons": "there is no command 'lessons'; did you mean lesson?",
    "qqqq": "`tinyllm --help` lists the commands",
    "train --mine 4 6": f"there is no recipe '6'; there are {', '.join(recipes())}",
    "chat --temp 0": "did you mean --temperature?", "chat --temprature=1": "did you mean --temperature?",
    "data list --xyzzy": "see `tinyllm data list --help`", "data show a --sed 3": "did you mean --seed?",
    "arena": "required: RUNS", "export shipped --bits 3": "invalid choice: 3",
    "train --minutes x": "invalid float",
    "--nonsense": "unrecognized arguments: --nonsense (see `tinyllm --help`)",
    "\x1b[2J" + "x" * 500: "there is no command '\\x1b[2J",
    "tokenizer show text --tokenizer nothing.json": "nothing.json",
    "tokenizer show abc.json text": "in quotes; --tokenizer PATH",
    "compress nothing --bits 8 --out new": "holds no run",
    "compress shipped --bits 4": "shipped is quantised already",
    "compress shipped --bits 8 --out runs/mine": "replace it (--overwrite)",
    "compress runs/mine --bits 8 --out runs/mine --overwrite": "is the run itself",
    "data show book --n 0": "--n must be at least 1, got 0",
    "data stats binary": "binary", "data stats nowhere": "there is no corpus and no file nowhere",
    "lesson 4": "to copy lesson N type", "check 4": "`tinyllm lesson start 4` makes one",
    "check 10 other.c": "is no exercise.c", "check 0 other.c": "is no exercise.py",
    "solution 11 test_softmax": "`tinyllm hint 11 test_softmax` helps",
    "solution 12 gpt": "those of lessons 4 to 9",
    "course grade students": "there is no course.toml",  # "students" is a folder here
    "eval shipped --task parity": "write world:KIND",
    "eval shipped --task world:mix": "asks nothing",
    "eval shipped --task world:clock --metric choice": "no choices to compare",
    "eval shipped --task world:parity --limit 0": "at least 1",
    "eval shipped --task world:parity,size=99": "size must be",
    "eval shipped --task world:caption": "sees no pictures",
    "inspect --diff gpt": "got 1", "inspect no/where": "there is no folder no/where",
    "inspect lama": "did you mean llama?", "inspect gpt --preset huge": "it has nano, mini, small",
    "inspect shipped --price-per-hour -1": "must be 0 or more", "inspect book": "book holds no run",
    "trace --diff a b --out c": "--diff compares two runs and writes no page; got a, b, --out",
    "trace shipped --out no/page.html": "no/page.html",
    "tokenizer train book --vocab 10 --out t.json": "bytes and specials are 256",
    "tokenizer train book --vocab 300 --out no/t.json": "a folder where you may write",
    "tokenizer train book --vocab 300 --out book": "add --overwrite",
    "tokenizer train book --vocab 300 --out . --overwrite": "cannot write .",
    "tokenizer encode abc.json x --file book": "not both",
    "tokenizer encode abc.json x --out x.tokens": "--out takes a --file to encode",
    "tokenizer encode abc.json --file text.gz": "unpack it with gunzip first",
    "tokenizer show --tokenizer byte --file text.gz": "unpack it with gunzip first",
    "tokenizer show --tokenizer byte --file large": "more than 1,048,576 bytes",
    "generate shipped --beams 2 --draft lookup": "compares whole texts",
    "generate shipped --suffix b": "no markers for a gap",
    "generate shipped --prompt \ud800": "the terminal's encoding",
    "generate mine": "mine holds no run: there is no run.json; there are runs/mine",
    "generate shipped --samples 0": "--samples must be at least 1",
    "generate shipped --beams 3 --top-k 2": "--beams draws nothing",
    "train book": "`tinyllm train --data book` trains on it",
    "train --data nowhere.txt": "nowhere.txt",
    "train --data binary": "byte",
    "train --data book --set model.context=100000": "context",
    "train --data book --tokenizer words": "words",
    "train --data book --tokenizer abc.json": "unknown",
    "train --data book --config nowhere.toml": "nowhere.toml",
    "train --data book --set x": "NAME=VALUE",
    "train --resume": "--out",
    "train --resume --out nothing": "no run",
    "train --resume --overwrite --out x": "not allowed",
    "train --minutes 3 --steps 3": "--steps", "train --minutes 3 --resume --out x": "--resume",
    "train --minutes 0": "a positive number", "train --minutes nan": "a positive number",
    "train --data book --set model.context=8 --out empty": "cannot write the run to empty",
    "train --data book --set model.context=8 --out /proc/tinyllm/run": "/proc/tinyllm",
    "train --data nothing --out empty/run": "cannot write the run to empty/run",  # before it reads the data
    "train --data book --out=": "empty name",
    "train --data book --out runs/mine": "go on with it (--resume), replace it",
    "train --data book --set start=runs/mine --out runs/mine --overwrite": "must stay",
    "train --data book --set start=shipped": "train an adapter (--set lora.rank=8)",
    "train --data book --set start=shipped --preset mini": "leave out preset",
    "train --set start=shipped --set model.width=8": "leave out model.width",
    "train --data book --set lora.rank=2": "give start=RUN, too",
    "train sft --data book --set start=nothing": "no run",
    "train classify --data classes.tsv --out c --model gpt": "classify cannot train a gpt2: it needs bert",
    "train classify --data classes.tsv --out c --model bert": "1 classes: give examples of 2",
    "serve shipped shipped --port 0": "two models are called shipped",
    "serve shipped --host 0.0.0.0": "--api-key", "serve shipped --memory 0": "at least 1 MB",
    "serve nowhere --port 0": "nowhere", "serve shipped --port 99999": "port 99999",
}
FILES = {"book": b"a book " * 300, "empty": b"", "binary": bytes(range(256)) * 40, "runs/mine/run.json": b"",
         "large": bytes(2**20 + 1), "other.c": b"", "classes.tsv": b"the cat\tcat\n" * 20}


@pytest.mark.parametrize("words", MISTAKES)
def test_a_mistake_is_answered_in_one_line_and_nothing_is_written(refused, here, words):
    for name, content in FILES.items():
        (here / name).parent.mkdir(parents=True, exist_ok=True)
        (here / name).write_bytes(content)
    tinyllm.save_tokenizer(tinyllm.CharTokenizer.train("abc"), here / "abc.json")
    before = {path: path.is_file() and path.read_bytes() for path in here.rglob("*")}
    said = refused(*words.split())
    assert MISTAKES[words] in said and len(said.replace(str(here), "")) < 250
    assert {path: path.is_file() and path.read_bytes() for path in here.rglob("*")} == before


@pytest.mark.parametrize("words", HELPS, ids=" ".join)
def test_every_help_has_an_example_and_fits_80_columns(words, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit) as end:
        main([*words, "--help"])
    out = capsys.readouterr().out
    assert end.value.code == 0 and f"tinyllm {' '.join(words)}".rstrip() in out.split("example", 1)[1]
    assert max(map(len, out.splitlines())) <= 80 and not re.search(r"default\s+(None|False)", out)


def test_the_front_door(capsys, printed):
    shown = printed()
    assert all(command in shown for command in COMMANDS)
    for first, second in (words for words in commands.COMMANDS if len(words) == 2):
        assert second in printed(first)
    answers = {"--version": f"tinyllm {tinyllm.__version__}\n", "help": "usage: tinyllm [-h]",
               "help chat": "usage: tinyllm chat [-h]", "export --help": "Q8_0 and Q4_0 (default 32)",
               "serve --help": "names of the models"}
    for words, said in answers.items():
        with pytest.raises(SystemExit) as end:
            main(words.split())
        assert end.value.code == 0 and said in capsys.readouterr().out


@pytest.mark.parametrize("line, given", [
    ("arena a b --judge length --items 5", {"runs": ["a", "b"], "judge": "length", "items": 5}),
    ("inspect --diff gpt llama --price-per-hour 2", {"diff": ["gpt", "llama"], "price_per_hour": 2.0}),
    ("inspect", {"model": None, "diff": None, "json": False}), ("eval", {"runs": [], "task": ""}),
    ("tokenizer train a --vocab 300 --out b --special x y", {"vocab": 300, "special": ["x", "y"]}),
    ("compress --bits 4 --overwrite", {"run": None, "bits": 4, "overwrite": True}),
    ("train dpo --set a=1 --set b=2", {"recipe": "dpo", "set": ["a=1", "b=2"], "resume": False}),
])
def test_a_line_gives_a_command_its_arguments(line, given):
    found = vars(build_parser(line.split()[0]).parse_args(line.split()))
    assert {name: found[name] for name in given} == given


@pytest.mark.parametrize("text", [
    "Do it.\n\n--other  no parameter", "Do it.\n\n--n N  how many\n--m  more", "Do it.",
])
def test_signature_and_docstring_must_agree(text):
    def go(*, n: int = 1):
        pass

    go.__doc__ = text
    with pytest.raises(TypeError, match="disagree"):
        commands.read_docstring(go)
