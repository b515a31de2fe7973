"""Check what stands around prompts and answers: training, drawing, scoring and `chat` lay them out alike."""

import json

import pytest
from helpers import refuses
from test_eval import Capitals
from test_tokenizer_chat import CHATML, NAMES, WRITTEN, byte, read
from tiny_gpt import tiny_gpt
from tiny_run import resumed_training

import tinyllm as tl
from tinyllm.align.pairs import read_pairs
from tinyllm.align.questions import read_questions
from tinyllm.align.reward import score_texts
from tinyllm.cli import chat
from tinyllm.eval.ask import prompts
from tinyllm.runs.recipe import CHAT, Frame
from tinyllm.runs.recipes.sft import encode_pairs

ASKED, RIGHT = "Hi </s>\n", " <|im_end|>\nyes"


def prepared(path, recipe, tokenizer=byte, asked=ASKED, answer=RIGHT, **settings):
    """Prepare a run that starts with a model as from Hugging Face, and learns an answer to many prompts."""
    tiny_gpt(tokenizer.vocab_size, context=199, width=16).save_pretrained(path)
    tl.save_tokenizer(tokenizer, path / "tokenizer.json")
    line = {"answer": answer, "chosen": answer, "rejected": "no"}
    (path / "pairs").write_text("\n".join(json.dumps({"prompt": "H" * i + asked} | line) for i in range(40)))
    own = {"recipe": recipe, "data": str(path / "pairs"), "start": str(path), "train.eval_windows": 4}
    return tl.prepare(tl.make_config(own | settings))


@pytest.mark.parametrize("source", WRITTEN, ids=range(len(WRITTEN)))
def test_all_recipes_lay_pairs_out_as_chat_does(tmp_path, source):
    template, known = read(tmp_path, source), []
    stop, answer = template.stop_id(byte), [*RIGHT.encode(), template.stop_id(byte)]
    for i in range(40):
        said = [{"role": "user", "content": "H" * i + ASKED}, {"role": "assistant", "content": RIGHT}]
        known.append(template.encode(byte, said[:1], reply=True))
        assert template.encode(byte, said)[: len(known[i] + answer)] == known[i] + answer
    sft, dpo, reward, grpo = setups = [prepared(tmp_path, name) for name in ("sft", "dpo", "reward", "grpo")]
    for pair in encode_pairs(sft, []) + read_pairs(dpo)[0] + read_pairs(reward)[0]:
        assert pair[0] in known and pair[1] == answer and pair[2] in (None, [*b"no", stop])
    assert [*read_questions(grpo).ids.values()] == known and {setup.frame for setup in setups} == {CHAT}
    score = score_texts(tl.Opened(reward.model, reward.tokenizer, CHAT), [ASKED], [RIGHT])[0]
    assert score == pytest.approx(reward.model.eval().scores([known[0] + answer]).data[0, -1], abs=1e-5)


def test_what_was_learnt_with_a_template_is_asked_with_it_and_stops(tmp_path, printed):
    template, run = read(tmp_path, CHATML), tl.Run(tmp_path / "run")
    setup = prepared(tmp_path, "sft", asked="i", answer="ok", **{"train.steps": 40, "train.lr": 0.02})
    run.create(setup.record(), setup.tokenizer)
    list(setup.train(run))
    opened = tl.open_model(run.folder)
    assert (opened.frame, opened.stops, opened.chat) == (CHAT, [template.stop_id(byte)], template)
    words = chat.Conversation(opened, sampling=tl.Sampling(temperature=0), stop=opened.stops)
    assert "".join(words.reply("Hi", 20)) == "ok" and words.ids[-1:] == opened.stops
    assert printed("generate", run.folder, "--prompt", "Hi", "--temperature", 0) == "Hi\nok\n"
    assert resumed_training(run.folder).setup.frame == CHAT
    ((ids, _),) = prompts(opened, Capitals(), Capitals().items("test")[:1], 1)
    asked = byte.decode(ids).split("<|im_end|>\n")
    assert asked[1][:22] == asked[3] == "<|im_start|>assistant\n" and asked[2].endswith("The capital of A is")


def test_a_template_that_cannot_be_followed_is_one_line(tmp_path):
    read(tmp_path, CHATML)
    with pytest.raises(tl.UserError, match=r"has a chat template, .* leave out sft.separator and sft.end"):
        prepared(tmp_path, "sft", **{"sft.end": ";"})
    with pytest.raises(tl.UserError, match="the character 'u'"):  # of the word "user"
        prepared(tmp_path, "sft", tl.CharTokenizer.train("Hi ok", NAMES))
    (tmp_path / "tokenizer_config.json").write_text('{"chat_template": "{{ messages * 2 }}"}')
    refuses("its chat template is none that tinyllm knows", prepared, tmp_path, "sft")
    assert not any(prepared(tmp_path, "pretrain").frame)
    (tmp_path / "tokenizer_config.json").unlink()  # what DPO learnt from a base once never ended
    assert all(prepared(tmp_path, name).frame == Frame(end="\n") for name in ("dpo", "reward"))
