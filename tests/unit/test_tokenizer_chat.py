"""Check conversations as tokens: only templates write special ids, and no code of a folder is run."""

import json

import pytest
from helpers import refuses
from hypothesis import given, strategies as st
from readers import Reader, check_all

from tinyllm.tokenizer import BPETokenizer, ByteTokenizer, load_tokenizer, save_tokenizer
from tinyllm.tokenizer.chat import CHAT_TEMPLATES, EACH, PROGRAMS, UNSAID, read_chat_template

NAMES = [name for template in CHAT_TEMPLATES.values() for name in template.special_tokens]
byte = ByteTokenizer(NAMES)
bpe = BPETokenizer.train("user\n\nassistant\nsystem the cat sat " * 9, 300, "gpt4", NAMES)
contents = st.one_of(st.text(), st.lists(st.sampled_from([*NAMES, "\n", "user", "the "])).map("".join))
turns = st.lists(st.tuples(contents, contents, st.booleans()), max_size=4)


@pytest.mark.parametrize("template", CHAT_TEMPLATES.values(), ids=CHAT_TEMPLATES)
@given(st.sampled_from([byte, bpe]), turns, contents)
def test_turn_by_turn_is_the_whole_conversation_and_messages_write_no_special_token(
        template, tokenizer, said, last):
    """A user's turn continues the same conversation, whether the model ended its turn or was cut off."""
    ids, messages = [], []
    for user, model, ended in said:
        ids += template.user_turn(tokenizer, user, ids)
        messages += [{"role": "user", "content": user}]
        assert ids == template.encode(tokenizer, messages, reply=True)  # longer ones begin with shorter ones
        ids += tokenizer.encode(model) + [template.stop_id(tokenizer)] * ended
        messages += [{"role": "assistant", "content": model}]
    ids += template.user_turn(tokenizer, last, ids)
    messages += [{"role": "user", "content": last}]
    assert ids == template.encode(tokenizer, messages, reply=True)
    special = set(tokenizer.special_tokens.values())
    empty = template.encode(tokenizer, [message | {"content": ""} for message in messages], reply=True)
    assert [i for i in ids if i in special] == [i for i in empty if i in special]
    plain = b"".join(tokenizer.decode_bytes([i]) for i in ids if i not in special).decode()
    assert all(message["content"] in plain for message in messages)


SAID = [{"role": "user", "content": "Hi </s>"}, {"role": "assistant", "content": "Hello!"},
        {"role": "user", "content": "<|im_end|> And?"}]
IN_CHATML = (
    "<|im_start|>user\nHi </s><|im_end|>\n<|im_start|>assistant\nHello!<|im_end|>\n"
    "<|im_start|>user\n<|im_end|> And?<|im_end|>\n<|im_start|>assistant\n"
)
CHATML, LLAMA3, MISTRAL = PROGRAMS.values()
BRIEF = CHATML.replace(
    EACH, EACH + "{% if loop.first and messages[0]['role'] != 'system' %}{{ '<|im_start|>system\\n"
    "You are brief.<|im_end|>\\n' }}{% endif %}")
WRITTEN = {  # a template -> SAID and the begun reply, as transformers 5.24 and jinja2 3.1.6 write them
    CHATML: IN_CHATML,
    UNSAID + CHATML: IN_CHATML,
    BRIEF: "<|im_start|>system\nYou are brief.<|im_end|>\n" + IN_CHATML,
    LLAMA3: "<|begin_of_text|><|start_header_id|>user<|end_header_id|>\n\nHi </s><|eot_id|>"
    "<|start_header_id|>assistant<|end_header_id|>\n\nHello!<|eot_id|>"
    "<|start_header_id|>user<|end_header_id|>\n\n<|im_end|> And?<|eot_id|>"
    "<|start_header_id|>assistant<|end_header_id|>\n\n",
    MISTRAL: "<s>[INST] Hi </s> [/INST]Hello!</s>[INST] <|im_end|> And? [/INST]",
}


def read(path, source, tokenizer=byte, **config):
    first = "<s>" if "[INST]" in str(source) else "<|begin_of_text|>"
    config = {"chat_template": source, "bos_token": {"content": first}, "eos_token": "</s>"} | config
    (path / "tokenizer_config.json").write_text(json.dumps(config))
    return read_chat_template(path, tokenizer)


@pytest.mark.parametrize("source", WRITTEN, ids=range(len(WRITTEN)))
def test_a_conversation_is_written_as_transformers_writes_it(source, tmp_path):
    template = read(tmp_path, source)
    assert byte.decode(template.encode(byte, SAID, reply=True)) == WRITTEN[source]
    for other in (source + "\n", source.replace("\\n", "\n")):
        assert read(tmp_path, other) == template


def test_where_a_folder_keeps_its_template(tmp_path):
    assert read_chat_template(tmp_path, byte) is None
    assert read(tmp_path, LLAMA3, bos_token=None).begin == ()  # a token that is null writes nothing
    assert read(tmp_path, MISTRAL, eos_token="<|im_end|>").special_tokens[-1] == "<|im_end|>"
    (tmp_path / "chat_template.jinja").write_text(LLAMA3)
    assert read(tmp_path, CHATML) == CHAT_TEMPLATES["llama3"]


@pytest.mark.parametrize("source", [  # almost a known program, or no program
    CHATML.replace("'<|im_end|>' + '\\n'", "'<|im_end|>'"), CHATML + " ", BRIEF + "{{ now() }}",
    BRIEF.replace("brief", "' + bos_token + '"), BRIEF.replace("brief", "{{ bos_token }}<|im_end|>"),
    "{{ ''.__class__.__mro__[1].__subclasses__() }}", "", "[]", 7, [], [{"name": "default"}],
], ids=range(11))
def test_what_is_no_known_program_is_refused(source, tmp_path):
    refuses("none that tinyllm knows; store another", read, tmp_path, source)


def files(path):
    (path / "chat_template.jinja").write_text(LLAMA3)
    read(path, CHATML)
    return [path / "tokenizer_config.json", path / "chat_template.jinja"]


def test_damaged_files_are_read_or_refused_in_one_line(tmp_path):
    check_all(Reader(files, lambda path: read_chat_template(path, byte)), tmp_path, times=60)


# Templates in the file of a tokenizer.

GOOD = CHAT_TEMPLATES["chatml"].to_dict()


@pytest.mark.parametrize("chat, problem", [
    ({}, "lacks chat.model"), (GOOD | {"unended": [3]}, "unended"), (GOOD | {"roles": []}, "object"),
    (GOOD | {"unended": ["assistant"]}, "lists others"), (GOOD | {"roles": {}}, "the role 'assistant'"),
    (GOOD | {"model": "nobody"}, "model"), (GOOD | {"end": "x"}, "list"), (GOOD | {"end": [3]}, "texts"),
    (GOOD | {"end": [{"special": 3}]}, "texts"), (GOOD | {"end": ["typed"]}, "anyone can type"),
    (GOOD | {"roles": {"assistant": ["A: "]}}, "anyone can type"),
    (GOOD | {"begin": [{"special": "<|missing|>"}]}, "'<|missing|>', which"),
])
def test_a_template_lives_in_the_tokenizer_file_and_a_wrong_one_is_refused(chat, problem, tmp_path):
    tokenizer = ByteTokenizer(NAMES)
    plain = tokenizer.fingerprint()
    for template in CHAT_TEMPLATES.values():
        tokenizer.chat = template
        save_tokenizer(tokenizer, tmp_path / "t.json")
        assert load_tokenizer(tmp_path / "t.json").chat == template and tokenizer.fingerprint() != plain
    document = tokenizer.to_dict()
    document["model"]["tinyllm"] = {"chat": chat}
    (tmp_path / "t.json").write_text(json.dumps(document))
    refuses(problem, load_tokenizer, tmp_path / "t.json")


def test_chat_templates_refuse_wrong_messages_and_marks_that_are_no_tokens(tmp_path):
    template, user = CHAT_TEMPLATES["chatml"], {"role": "user", "content": "x"}
    for wrong in ("user", {}, user | {"role": "judge"}, user | {"role": ["user"]}, user | {"content": None}):
        refuses("a message", template.encode, byte, [wrong])
    refuses(r"'<\|im_start\|>', which this", read, tmp_path, CHATML, ByteTokenizer(["<|im_end|>"]))
