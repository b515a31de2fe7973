"""Chat templates of Hugging Face folders: read as data with jinja2, where that is installed, or refused."""

import json

import pytest

from tinyllm.errors import UserError
from tinyllm.tokenizer import CHAT_TEMPLATES, ByteTokenizer
from tinyllm.tokenizer import chat_file as module
from tinyllm.tokenizer.chat_file import read_chat_template

EACH = "{% for message in messages %}"
REPLY = "{% endfor %}{% if add_generation_prompt %}"
CHATML = (
    EACH + "{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}" + REPLY
    + "{{ '<|im_start|>assistant\n' }}{% endif %}"
)  # fmt: skip
IN_LOOP = CHATML.replace(
    EACH, EACH + "{% if loop.first and messages[0]['role'] != 'system' %}{{ '<|im_start|>system\\n"
    "You are brief.<|im_end|>\\n' }}{% endif %}")  # fmt: skip
LLAMA3 = (
    "{{ bos_token }}" + EACH + "{{'<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n'"
    " + message['content'] | trim + '<|eot_id|>'}}" + REPLY
    + "{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}"
)  # fmt: skip
DEFAULT = (
    "{% if messages[0]['role'] != 'system' %}{{ '<|im_start|>system\nHelp.<|im_end|>\n' }}{% endif %}"
    + CHATML
)
MISTRAL = (
    "{{ bos_token }}" + EACH
    + "{% if message['role'] == 'user' %}{{ '[INST] ' + message['content'] + '[/INST]' }}"
    "{% elif message['role'] == 'assistant' %}{{ ' ' + message['content'] + eos_token }}"
    "{% else %}{{ raise_exception('no ' + message['role']) }}{% endif %}{% endfor %}"
)  # fmt: skip
NUMBERED = EACH + "{{'<|im_start|>' ~ loop.index ~ message['content'] ~ '<|im_end|>'}}{% endfor %}"
NAMES = {"chatml": CHATML, "llama3": LLAMA3, "default": DEFAULT, "mistral": MISTRAL, "in loop": IN_LOOP,
         "meta": module.LLAMA3}  # fmt: skip
NO_JINJA2 = "raise ModuleNotFoundError(\"No module named 'jinja2'\")"
TOKENS = ["<|im_start|>", "<|im_end|>", "<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>",
          "<|eot_id|>", "[INST]", "[/INST]", "</s>", "<s>"]  # fmt: skip
BYTES = ByteTokenizer(TOKENS)


def folder(path, source, **config):
    path.mkdir(exist_ok=True)
    tokens = {"bos_token": "<|begin_of_text|>", "eos_token": {"content": "</s>"}} | config
    (path / "tokenizer_config.json").write_text(json.dumps({"chat_template": source} | tokens))
    return path


def read(path, source, **config):
    pytest.importorskip("jinja2")
    return read_chat_template(folder(path, source, **config), BYTES.special_tokens)


@pytest.mark.parametrize("name", ["chatml", "llama3"])
def test_common_templates_are_found_to_be_ours(name, tmp_path):
    assert read(tmp_path, NAMES[name]) == CHAT_TEMPLATES[name]


HELLO = [{"role": "user", "content": "Hi </s>"}, {"role": "assistant", "content": "Hello!"},
         {"role": "user", "content": "[INST] And?"}]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_a_conversation_is_written_as_transformers_writes_it(name, tmp_path):
    template = read(tmp_path, NAMES[name])
    source, tokens = module.find_source(tmp_path)
    written = module.render(source, tokens, [(HELLO, True)], "it")[0]
    gap = " " if name == "mistral" else ""
    said = [HELLO[0], {"role": "assistant", "content": gap + "Hello!"}, HELLO[2]]
    ids = template.encode(BYTES, said, reply=True).ids
    assert BYTES.decode(ids) == written
    assert ids.count(BYTES.special_tokens["[INST]"]) == 2 * (name == "mistral"), "typed names are text"
    turns = template.user_turn(BYTES, "Hi </s>")
    turns += [*BYTES.encode(said[1]["content"]), template.stop_id(BYTES)]
    turns += template.user_turn(BYTES, HELLO[2]["content"], turns)
    assert turns == ids
    assert template == type(template).from_dict(json.loads(json.dumps(template.to_dict())))


def test_a_file_of_its_own_and_a_named_one_are_read(tmp_path):
    assert read(tmp_path, [{"name": "tool_use", "template": "x"}, {"name": "default", "template": CHATML}])
    (tmp_path / "chat_template.jinja").write_text(LLAMA3)
    assert read(tmp_path, CHATML) == CHAT_TEMPLATES["llama3"]


def test_no_template_needs_no_library(tmp_path):
    assert read_chat_template(tmp_path, BYTES.special_tokens) is None


ATTACKS = {
    "numbered": (NUMBERED, "does not write every turn in the same way"),
    "open": (CHATML.replace("<|im_", "<|my_"), "anyone can type a text"),
    "forever": ("{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}", "be run"),
    "memory": ("{{ 'x' * 10**10 }}", "cannot be run"),
    "classes": ("{{ ''.__class__.__mro__[1].__subclasses__() }}", "cannot be run"),
    "broken": ("{% for %}", "cannot be run"),
    "empty": ("", "does not write every turn in the same way"),
    "number": (7, "chat_template is no text"),
}


@pytest.mark.parametrize("name", ATTACKS)
def test_what_is_no_plain_template_is_refused(name, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "CHILD", module.CHILD.replace(f"({module.SECONDS},", "(1,"))
    source, said = ATTACKS[name]
    with pytest.raises(UserError, match=said) as error:
        read(tmp_path, source)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("source", [CHATML, CHATML.replace("\n", "\\n"), IN_LOOP, module.LLAMA3 + "\n"])
def test_known_programs_need_no_jinja2(source, tmp_path, monkeypatch):
    """What is known of them is what jinja2 would have told."""
    at, names = folder(tmp_path, source), BYTES.special_tokens
    with monkeypatch.context() as patched:
        patched.setattr(module, "CHILD", NO_JINJA2)
        found = read_chat_template(at, names)
    pytest.importorskip("jinja2")
    monkeypatch.setattr(module, "known_template", lambda *given: None)
    assert found == read_chat_template(at, names)


@pytest.mark.parametrize("edit", [
    lambda text: text.replace("'<|im_end|>' + '\n'", "'<|im_end|>'"), lambda text: text + " ",
    lambda text: IN_LOOP.replace("brief", "{{ bos_token }}<|im_end|>"),
    lambda text: IN_LOOP.replace("brief", "' + bos_token + '"),
])
def test_nearly_the_same_program_is_not_known(edit):
    assert edit(CHATML) != CHATML and module.known_template(edit(CHATML), {"bos_token": ""}) is None
    assert module.known_template(module.LLAMA3, {"bos_token": "<s>"}) is None


def test_without_jinja2_it_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "CHILD", NO_JINJA2)
    with pytest.raises(UserError, match="pip install jinja2"):
        read_chat_template(folder(tmp_path, MISTRAL), BYTES.special_tokens)


@pytest.mark.parametrize("source", [[], [{"name": "tool", "template": "x"}], [{"name": "default"}], 3])
def test_a_chat_template_that_is_no_text_is_refused(source, tmp_path):
    with pytest.raises(UserError, match="chat_template is no text"):
        read_chat_template(folder(tmp_path, source), ())


def test_a_file_that_is_there_and_cannot_be_read_is_refused(tmp_path):
    for name in ("tokenizer_config.json", "chat_template.jinja"):
        (tmp_path / name).symlink_to(name)
        with pytest.raises(UserError, match=f"cannot read .*{name}"):
            read_chat_template(tmp_path, ())
        (tmp_path / name).unlink()
