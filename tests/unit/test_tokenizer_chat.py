"""Check conversations in tokens: only the template writes special ids, and no program of a folder runs."""

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from readers import Reader, check_good, check_mutations, check_no_json, check_obstacles

from tinyllm.errors import UserError
from tinyllm.tokenizer import BPETokenizer, ByteTokenizer, load_tokenizer, save_tokenizer
from tinyllm.tokenizer.chat import CHAT_TEMPLATES, ChatTemplate, Special
from tinyllm.tokenizer.chat_file import CHATML, EACH, INST, LLAMA3, MISTRAL, UNSAID, read_chat_template

TEMPLATES = CHAT_TEMPLATES | {
    "mistral": ChatTemplate(INST, (Special("</s>"),), (Special("<s>"),), unended=("user",))}
NAMES = [name for template in TEMPLATES.values() for name in template.special_tokens]
byte = ByteTokenizer(NAMES)
bpe = BPETokenizer.train("user\n\nassistant\nsystem the cat sat " * 9, 300, "gpt4", NAMES)
EVERY = pytest.mark.parametrize("template", TEMPLATES.values(), ids=TEMPLATES)
BOTH = pytest.mark.parametrize("tokenizer", [byte, bpe], ids=["byte", "bpe"])
contents = st.one_of(st.text(), st.lists(st.sampled_from([*NAMES, "\n", "user", "the "])).map("".join))
messages = st.lists(
    st.fixed_dictionaries({"role": st.sampled_from(["user", "assistant"]), "content": contents})
)


@EVERY
@BOTH
@given(messages, st.integers(0, 9))
def test_only_the_template_writes_special_tokens(template, tokenizer, messages, cut):
    """However many names are spelt in the messages, the special ids are those of as many empty messages."""
    special = set(tokenizer.special_tokens.values())
    ids = template.encode(tokenizer, messages)
    empty = template.encode(tokenizer, [message | {"content": ""} for message in messages])
    assert [i for i in ids if i in special] == [i for i in empty if i in special]
    plain = b"".join(tokenizer.decode_bytes([i]) for i in ids if i not in special).decode("utf-8", "replace")
    assert all(message["content"] in plain for message in messages)
    shorter = template.encode(tokenizer, messages[:cut])
    assert ids[: len(shorter)] == shorter, "a longer conversation begins with the shorter"


@EVERY
@BOTH
@given(st.lists(st.tuples(contents, contents, st.booleans()), max_size=4), contents)
def test_turn_by_turn_is_the_whole_conversation(template, tokenizer, said, last):
    """Let the model end its turn, or cut it off: what a user adds continues the same conversation."""
    ids, messages = [], []
    for user, model, ended in said:
        ids += template.user_turn(tokenizer, user, ids) + tokenizer.encode(model)
        ids += [template.stop_id(tokenizer)] * ended
        messages += [{"role": "user", "content": user}, {"role": "assistant", "content": model}]
    ids += template.user_turn(tokenizer, last, ids)
    assert ids == template.encode(tokenizer, [*messages, {"role": "user", "content": last}], reply=True)


SAID = [{"role": "user", "content": "Hi </s>"}, {"role": "assistant", "content": "Hello!"},
        {"role": "user", "content": "<|im_end|> And?"}]
IN_CHATML = (
    "<|im_start|>user\nHi </s><|im_end|>\n<|im_start|>assistant\nHello!<|im_end|>\n"
    "<|im_start|>user\n<|im_end|> And?<|im_end|>\n<|im_start|>assistant\n"
)
DEFAULT = CHATML.replace(
    EACH, EACH + "{% if loop.first and messages[0]['role'] != 'system' %}{{ '<|im_start|>system\\n"
    "You are brief.<|im_end|>\\n' }}{% endif %}")
WRITTEN = {  # a program -> the text of SAID and a reply, by transformers 5.24 and jinja2 3.1.6
    CHATML: IN_CHATML,
    UNSAID + CHATML: IN_CHATML,
    DEFAULT: "<|im_start|>system\nYou are brief.<|im_end|>\n" + IN_CHATML,
    LLAMA3: "<|begin_of_text|><|start_header_id|>user<|end_header_id|>\n\nHi </s><|eot_id|>"
    "<|start_header_id|>assistant<|end_header_id|>\n\nHello!<|eot_id|>"
    "<|start_header_id|>user<|end_header_id|>\n\n<|im_end|> And?<|eot_id|>"
    "<|start_header_id|>assistant<|end_header_id|>\n\n",
    MISTRAL: "<s>[INST] Hi </s> [/INST]Hello!</s>[INST] <|im_end|> And? [/INST]",
}


def folder(path, source, **config):
    path.mkdir(exist_ok=True)
    first = "<s>" if isinstance(source, str) and "[INST]" in source else "<|begin_of_text|>"
    config = {"bos_token": {"content": first}, "eos_token": "</s>"} | config
    (path / "tokenizer_config.json").write_text(json.dumps({"chat_template": source} | config))
    return path


def read(path, source, **config):
    return read_chat_template(folder(path, source, **config), byte)


@pytest.mark.parametrize("source", WRITTEN, ids=range(len(WRITTEN)))
def test_a_conversation_is_written_as_transformers_writes_it(source, tmp_path):
    template = read(tmp_path, source)
    assert byte.decode(template.encode(byte, SAID, reply=True)) == WRITTEN[source]
    for other in (source + "\n", source.replace("\\n", "\n")):
        assert read(tmp_path, other) == template


def test_one_token_opens_each_role():
    written = "<|user|>Hi </s><|end|><|assistant|>Hello!<|end|><|user|><|im_end|> And?<|end|>"
    assert byte.decode(CHAT_TEMPLATES["roles"].encode(byte, SAID)) == written


def test_where_a_folder_keeps_its_template(tmp_path):
    assert read_chat_template(tmp_path, byte) is None
    assert read(tmp_path, LLAMA3, bos_token=None).begin == ()  # a token without a name writes nothing
    assert read(tmp_path, [{"name": "tool_use", "template": "x"}, {"name": "default", "template": CHATML}])
    (tmp_path / "chat_template.jinja").write_text(LLAMA3)
    assert read(tmp_path, CHATML) == CHAT_TEMPLATES["llama3"]


UNKNOWN, NO_TEXT = "none that tinyllm knows; store another", "chat_template is no text"
REFUSED = [  # nearly a known program, or none at all
    (CHATML.replace("'<|im_end|>' + '\\n'", "'<|im_end|>'"), UNKNOWN), (CHATML + " ", UNKNOWN),
    (DEFAULT + "{{ now() }}", UNKNOWN), (DEFAULT.replace("brief", "' + bos_token + '"), UNKNOWN),
    (DEFAULT.replace("brief", "{{ bos_token }}<|im_end|>"), UNKNOWN),
    ("{{ ''.__class__.__mro__[1].__subclasses__() }}", UNKNOWN), ("", UNKNOWN), ("[]", UNKNOWN),
    *((wrong, NO_TEXT) for wrong in (7, [], [{"name": "tool", "template": "x"}], [{"name": "default"}])),
]


@pytest.mark.parametrize("source, said", REFUSED, ids=range(len(REFUSED)))
def test_what_is_no_known_program_is_refused(source, said, tmp_path):
    with pytest.raises(UserError, match=said):
        read(tmp_path, source)


def test_a_template_whose_marks_are_no_tokens_is_refused(tmp_path):
    """As in LLaMA 2, whose marks anyone could type."""
    with pytest.raises(UserError, match=r"'<\|im_start\|>', which this tokenizer lacks"):
        read_chat_template(folder(tmp_path, CHATML), ByteTokenizer(["<|im_end|>"]))


def files(path):
    (folder(path, CHATML) / "chat_template.jinja").write_text(LLAMA3)
    return [path / "tokenizer_config.json", path / "chat_template.jinja"]


def test_damaged_files_are_read_or_refused_in_one_line(tmp_path):
    reader = Reader(files, lambda path: read_chat_template(path, byte))
    check_good(reader, tmp_path)
    check_obstacles(reader, tmp_path)
    check_no_json(reader, tmp_path)
    for seed in range(3):
        check_mutations(reader, tmp_path, seed)


# In the file of a tokenizer


def test_a_template_lives_in_the_tokenizer_file(tmp_path):
    for name, template in TEMPLATES.items():
        tokenizer = BPETokenizer.train("the cat", 270, special_tokens=template.special_tokens)
        plain = tokenizer.fingerprint()
        tokenizer.chat = template
        assert tokenizer.fingerprint() != plain
        save_tokenizer(tokenizer, tmp_path / name)
        loaded = load_tokenizer(tmp_path / name)
        assert loaded.chat == template and loaded.fingerprint() == tokenizer.fingerprint()


GOOD = CHAT_TEMPLATES["chatml"].to_dict()
BAD_FIELDS = [
    ({}, "lacks chat.model"), (GOOD | {"learns": []}, "'learns' in chat"),
    (GOOD | {"unended": [3]}, "unended"), (GOOD | {"unended": ["assistant"]}, "other than 'assistant'"),
    (GOOD | {"roles": []}, "object"), (GOOD | {"roles": {}}, "the role 'assistant'"),
    (GOOD | {"model": 3}, "model"), (GOOD | {"model": "nobody"}, "'nobody'"),
    (GOOD | {"end": "x"}, "list"), (GOOD | {"end": [3]}, "list"),
    (GOOD | {"end": [{"special": 3}]}, "texts"), (GOOD | {"end": [{"special": "a", "b": 1}]}, "texts"),
    (GOOD | {"end": ["typed"]}, "the end .* needs a special token"),
    (GOOD | {"roles": {"assistant": ["A: "]}}, "'assistant' .* needs a special token"),
    (GOOD | {"begin": [{"special": "<|missing|>"}]}, "'<|missing|>', which"),
]


@pytest.mark.parametrize("chat, problem", BAD_FIELDS)
def test_a_wrong_template_in_a_file_is_refused_in_one_line(chat, problem, tmp_path):
    document = ByteTokenizer(NAMES).to_dict()
    document["model"]["tinyllm"] = {"chat": chat}
    (tmp_path / "t.json").write_text(json.dumps(document))
    with pytest.raises(UserError, match=problem) as error:
        load_tokenizer(tmp_path / "t.json")
    assert "\n" not in str(error.value) and len(str(error.value)) < 300


def test_chat_templates_refuse_wrong_messages():
    template, user = CHAT_TEMPLATES["chatml"], {"role": "user", "content": "x"}
    for wrong in ("user", {}, user | {"role": "judge"}, user | {"role": ["user"]}, user | {"content": None},
                  user | {"name": "Eve"}):
        with pytest.raises(UserError, match="a message"):
            template.encode(byte, [wrong])
    with pytest.raises(UserError, match="texts and special tokens"):
        replace(template, begin=(Special("<|x|>"), 3))
    assert ChatTemplate({"assistant": [Special("a")]}, [Special("b")]).special_tokens == ["a", "b"]
