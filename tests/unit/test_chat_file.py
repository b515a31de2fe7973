"""Check chat templates of Hugging Face folders: known programs are read as data, and none runs."""

import json

import pytest
from readers import Reader, check_good, check_mutations, check_no_json, check_obstacles
from tokenizer_command import run

from tinyllm.errors import UserError
from tinyllm.tokenizer import CHAT_TEMPLATES, ByteTokenizer, load_tokenizer, save_tokenizer
from tinyllm.tokenizer.chat_file import CHATML, EACH, LLAMA3, MISTRAL, UNSAID, read_chat_template

DEFAULT = CHATML.replace(
    EACH, EACH + "{% if loop.first and messages[0]['role'] != 'system' %}{{ '<|im_start|>system\\n"
    "You are brief.<|im_end|>\\n' }}{% endif %}")
TOKENS = ["<|im_start|>", "<|im_end|>", "<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>",
          "<|eot_id|>", "[INST]", "[/INST]", "</s>", "<s>"]
BYTES = ByteTokenizer(TOKENS)
SAID = [{"role": "user", "content": "Hi </s>"}, {"role": "assistant", "content": "Hello!"},
        {"role": "user", "content": "[INST] And?"}]
IN_CHATML = (
    "<|im_start|>user\nHi </s><|im_end|>\n<|im_start|>assistant\nHello!<|im_end|>\n"
    "<|im_start|>user\n[INST] And?<|im_end|>\n<|im_start|>assistant\n"
)
WRITTEN = {  # a program -> the text of SAID and a reply, by transformers 5.24 and jinja2 3.1.6
    CHATML: IN_CHATML,
    UNSAID + CHATML: IN_CHATML,
    DEFAULT: "<|im_start|>system\nYou are brief.<|im_end|>\n" + IN_CHATML,
    LLAMA3: "<|begin_of_text|><|start_header_id|>user<|end_header_id|>\n\nHi </s><|eot_id|>"
    "<|start_header_id|>assistant<|end_header_id|>\n\nHello!<|eot_id|>"
    "<|start_header_id|>user<|end_header_id|>\n\n[INST] And?<|eot_id|>"
    "<|start_header_id|>assistant<|end_header_id|>\n\n",
    MISTRAL: "<|begin_of_text|>[INST] Hi </s> [/INST]Hello!</s>[INST] [INST] And? [/INST]",
}


def folder(path, source, **config):
    path.mkdir(exist_ok=True)
    tokens = {"bos_token": "<|begin_of_text|>", "eos_token": {"content": "</s>"}} | config
    (path / "tokenizer_config.json").write_text(json.dumps({"chat_template": source} | tokens))
    return path


def read(path, source, **config):
    return read_chat_template(folder(path, source, **config), BYTES)


@pytest.mark.parametrize("source", WRITTEN, ids=range(len(WRITTEN)))
def test_a_conversation_is_written_as_transformers_writes_it(source, tmp_path):
    template = read(tmp_path, source)
    ids = template.encode(BYTES, SAID, reply=True).ids
    assert BYTES.decode(ids) == WRITTEN[source]
    assert ids.count(BYTES.special_tokens["[INST]"]) == 2 * (source == MISTRAL), "typed names are text"
    turns = template.user_turn(BYTES, "Hi </s>")
    turns += [*BYTES.encode("Hello!"), template.stop_id(BYTES)]
    turns += template.user_turn(BYTES, SAID[2]["content"], turns)
    assert turns == ids
    assert template == type(template).from_dict(json.loads(json.dumps(template.to_dict())))
    for other in (source + "\n", source.replace("\\n", "\n")):
        assert read(tmp_path, other) == template


def test_tokens_that_a_folder_does_not_name_are_not_written(tmp_path):
    assert read(tmp_path, LLAMA3) == CHAT_TEMPLATES["llama3"]
    assert read(tmp_path, LLAMA3, bos_token=None).begin == ()


def test_a_file_of_its_own_and_a_named_one_are_read(tmp_path):
    assert read(tmp_path, [{"name": "tool_use", "template": "x"}, {"name": "default", "template": CHATML}])
    (tmp_path / "chat_template.jinja").write_text(LLAMA3)
    assert read(tmp_path, CHATML) == CHAT_TEMPLATES["llama3"]


def test_a_folder_without_a_template_has_none(tmp_path):
    assert read_chat_template(tmp_path, BYTES) is None


UNKNOWN, NO_TEXT = "none that tinyllm knows", "chat_template is no text"
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


def test_what_the_refusal_says_stores_another(tmp_path):
    save_tokenizer(BYTES, folder(tmp_path, "x"))
    with pytest.raises(UserError) as error:
        read_chat_template(tmp_path, BYTES)
    run(*str(error.value).partition("tinyllm tokenizer ")[2].split())
    assert load_tokenizer(tmp_path).chat == CHAT_TEMPLATES["chatml"]


@pytest.mark.parametrize("eos, said", [("</t>", "the special token '</t>'"), ("", "needs a special token")])
def test_marks_that_anyone_could_type_are_refused(eos, said, tmp_path):
    """As in LLaMA 2, whose tokenizer has no tokens for its marks."""
    with pytest.raises(UserError, match=said):
        read(tmp_path, MISTRAL, eos_token=eos)


def files(path):
    (folder(path, CHATML) / "chat_template.jinja").write_text(LLAMA3)
    return [path / "tokenizer_config.json", path / "chat_template.jinja"]


def test_damaged_files_are_read_or_refused_in_one_line(tmp_path):
    reader = Reader(files, lambda path: read_chat_template(path, BYTES))
    check_good(reader, tmp_path)
    check_obstacles(reader, tmp_path)
    check_no_json(reader, tmp_path)
    for seed in range(3):
        check_mutations(reader, tmp_path, seed)
