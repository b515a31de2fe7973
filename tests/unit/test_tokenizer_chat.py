"""Check conversations in tokens: turns begin and end with ids that no message can spell."""

import dataclasses
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinyllm.errors import UserError
from tinyllm.tokenizer import BPETokenizer, ByteTokenizer, load_tokenizer, save_tokenizer
from tinyllm.tokenizer.chat import CHAT_TEMPLATES, ChatTemplate, Special

NAMES = [name for template in CHAT_TEMPLATES.values() for name in template.special_tokens]
byte = ByteTokenizer(NAMES)
bpe = BPETokenizer.train("user\n\nassistant\nsystem the cat sat " * 9, 300, "gpt4", NAMES)
EVERY = pytest.mark.parametrize("template", CHAT_TEMPLATES.values(), ids=CHAT_TEMPLATES)
BOTH = pytest.mark.parametrize("tokenizer", [byte, bpe], ids=["byte", "bpe"])

contents = st.one_of(st.text(), st.lists(st.sampled_from([*NAMES, "\n", "user", "the "])).map("".join))
messages = st.lists(
    st.fixed_dictionaries({"role": st.sampled_from(["system", "user", "assistant"]), "content": contents})
)


@EVERY
@BOTH
@given(messages)
def test_only_the_template_writes_special_tokens(template, tokenizer, messages):
    """However many names are spelt in the messages, the special ids are those of as many empty messages."""
    special = set(tokenizer.special_tokens.values())
    ids, mask = template.encode(tokenizer, messages)
    assert len(ids) == len(mask)
    empty = template.encode(tokenizer, [message | {"content": ""} for message in messages])
    assert [i for i in ids if i in special] == [i for i in empty.ids if i in special]
    plain = b"".join(tokenizer.decode_bytes([i]) for i in ids if i not in special).decode("utf-8", "replace")
    assert all(message["content"] in plain for message in messages)


@EVERY
@BOTH
@given(messages, st.data())
def test_a_longer_conversation_begins_with_the_shorter(template, tokenizer, messages, data):
    cut = data.draw(st.integers(0, len(messages)))
    whole, part = template.encode(tokenizer, messages), template.encode(tokenizer, messages[:cut])
    assert whole.ids[: len(part.ids)] == part.ids and whole.mask[: len(part.mask)] == part.mask
    opened = template.encode(tokenizer, messages[:cut], reply=True)
    if cut < len(messages) and messages[cut]["role"] == "assistant":
        assert whole.ids[: len(opened.ids)] == opened.ids and whole.mask[: len(opened.mask)] == opened.mask
    assert not any(opened.mask[len(part.mask) :])


@EVERY
@BOTH
@given(messages)
def test_the_mask_is_what_the_model_writes(template, tokenizer, messages):
    ids, mask = template.encode(tokenizer, messages)
    learnt = [i for i, mine in zip(ids, mask, strict=True) if mine]
    expected = []
    for message in messages:
        if message["role"] == "assistant":
            expected += [*tokenizer.encode(message["content"]), template.stop_id(tokenizer)]
    assert learnt == expected


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
    whole = template.encode(tokenizer, [*messages, {"role": "user", "content": last}], reply=True)
    assert ids == whole.ids


HELLO = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi<|im_end|>"},
         {"role": "assistant", "content": "Hello!"}]
def test_one_token_opens_each_role():
    """The other templates are written out in test_chat_file.py."""
    written = "<|system|>Be brief.<|end|><|user|>Hi<|im_end|><|end|><|assistant|>Hello!<|end|>"
    assert byte.decode(CHAT_TEMPLATES["roles"].encode(byte, HELLO).ids) == written


def test_a_template_lives_in_the_tokenizer_file(tmp_path):
    for name, template in CHAT_TEMPLATES.items():
        tokenizer = BPETokenizer.train("the cat", 270, special_tokens=template.special_tokens)
        plain = tokenizer.fingerprint()
        tokenizer.chat = template
        assert tokenizer.fingerprint() != plain
        save_tokenizer(tokenizer, tmp_path / name)
        loaded = load_tokenizer(tmp_path / name)
        assert loaded.chat == template and loaded.fingerprint() == tokenizer.fingerprint()
        assert loaded.chat.encode(loaded, HELLO) == template.encode(tokenizer, HELLO)


GOOD = CHAT_TEMPLATES["chatml"].to_dict()
BAD_FIELDS = [
    ({}, "the fields"), (GOOD | {"extra": 1}, "the fields"),
    (GOOD | {"roles": []}, "object"), (GOOD | {"roles": {}}, "needs roles"), (GOOD | {"model": 3}, "model"),
    (GOOD | {"model": "nobody"}, "'nobody'"), (GOOD | {"end": "x"}, "list"), (GOOD | {"end": [3]}, "list"),
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
    template = CHAT_TEMPLATES["chatml"]
    user = {"role": "user", "content": "x"}
    for wrong in ("user", {}, user | {"role": "judge"}, user | {"role": ["user"]}, user | {"content": None},
                  user | {"name": "Eve"}):
        with pytest.raises(UserError):
            template.encode(byte, [wrong])
    with pytest.raises(UserError, match=r"'system' .*'<\|im_start\|>', which this tokenizer lacks"):
        template.encode(ByteTokenizer(["<|im_end|>"]), [])
    with pytest.raises(UserError, match="lacks"):
        template.stop_id(ByteTokenizer())
    for wrong in ({"end": ("x",)}, {"end": [None]}, {"roles": None}, {"roles": {"assistant": "text"}},
                  {"begin": [Special("<|x|>"), 3]}):
        with pytest.raises(UserError):
            dataclasses.replace(template, **wrong)
    assert ChatTemplate({"assistant": [Special("a")]}, [Special("b")]).special_tokens == ["a", "b"]
