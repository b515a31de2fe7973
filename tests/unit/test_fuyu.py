"""Check that Fuyu reads pictures: patches, training, commands, and what is refused."""

import dataclasses
import pathlib

import numpy as np
import pytest
from helpers import refuses
from hypothesis import given, strategies as st
from tiny_models import MARK, MODELS, lively, reads

import tinyllm as tl
from tinyllm.data import read_picture
from tinyllm.eval import ask, find_task
from tinyllm.world.pictures import recognise

SIDE, PATCH = 6, 3  # four patches


@given(seed=st.integers(0, 99))
def test_a_picture_is_a_vector_for_each_patch_at_the_marks(seed):
    model, places = lively("fuyu", seed), np.arange(8)[None]
    reading = reads(model, seed, rows=1)
    tokens, pictures = reading.tokens, reading.more["pictures"]
    x, marks = model.embed(tokens, places).data, iter(np.flatnonzero(tokens[0] == MARK))
    for top in range(0, SIDE, PATCH):
        for left in range(0, SIDE, PATCH):
            dots = pictures[0, top : top + PATCH, left : left + PATCH].ravel() / np.float32(127.5) - 1
            x[0, next(marks)] = model.vision_embed_tokens(tl.Tensor(dots[None])).data[0]
    expected = model.head(model.body(tl.Tensor(x), places, None, tl.nn.Seen())).data
    np.testing.assert_allclose(model(tokens, pictures=pictures).data, expected, rtol=1e-4, atol=1e-4)
    model.loss(tokens, np.roll(tokens, -1, 1), pictures=pictures).backward()
    assert not model.language_model.embed_tokens.weight.grad[MARK].any()


@pytest.mark.parametrize("change, message", [
    (lambda t, p: (t[:, 2:], p), "marks for 8 patches"),
    (lambda t, p: (t, p[:1]), "the tokens have 8 marks for 4 patches"),
    (lambda t, p: (t, p[:, 1:]), "reads pictures of 6 x 6 dots"), (lambda t, p: (t, p[0]), "got uint8"),
    (lambda t, p: (t, p / 255), "got float64"),
])
def test_pictures_that_do_not_fit_are_refused(change, message):
    model = lively("fuyu")
    reading = reads(model, rows=2)
    tokens, pictures = change(reading.tokens, reading.more["pictures"])
    refuses(message, model, tokens, pictures=pictures)


@pytest.fixture
def run(here, printed):
    """Train a run for four steps on captions; return its folder and what was printed."""
    words = ["--data", "world:caption,n=60", "--steps", "4", "--out", "run"]
    sizes = ["width=16", "layers=1", "heads=2", "hidden=16", "context=120"]
    sizes = [f"--set=model.{size}" for size in sizes]
    return "run", printed("train", "sft", "--model", "fuyu", *words, *sizes)


def test_a_run_learns_with_pictures_and_describes_them(run, printed):
    folder, out = run
    assert "it writes:\n  The picture shows\n" in out
    opened = tl.open_model(folder)
    model, tokenizer = opened.model, opened.tokenizer
    assert model.config.picture == tokenizer.special_tokens["<|picture|>"]
    picture, prompt, _ = tl.data.load_corpus("world:caption,n=1,seed=3").shown[0]
    pathlib.Path("scene.ppm").write_bytes(ppm(picture))
    words = "generate", folder, "--prompt", prompt, "--tokens", "7", "--temperature", "0", "--picture"
    answers = [printed(*words, where) for where in ("world:caption,seed=3", "scene.ppm")]
    ids = [*model.picture_marks, *tokenizer.encode(f"{prompt}\n")]
    for _ in range(7):
        ids.append(int(model([ids], pictures=picture[None]).data[0, -1].argmax()))
    expected = tokenizer.decode(ids[len(model.picture_marks) :])
    assert answers[0] == answers[1] and answers[0].rstrip("\n") == expected.rstrip("\n")
    engine = tl.Engine(model, tokenizer)
    long = engine.add(max_tokens=200, **opened.lay_out(prompt, 200, picture=picture))
    list(engine)
    assert long.finish in ("stop", "context")  # never slides the context past the picture
    task = find_task("world:caption,n=1,seed=3")
    (answer,) = ask.answers(opened, task, task.items("train"), max_tokens=7)
    assert f"{prompt}\n{answer.text}" == "\n".join(expected.split("\n")[:2])


def test_training_looks_at_the_pictures_and_gives_each_row_its_own():
    sizes = {f"model.{name}": MODELS["fuyu"][name] for name in ("layers", "width", "heads", "hidden")}
    settings = {"recipe": "sft", "model.type": "fuyu", "data": "world:caption,n=50", **sizes}
    plan = (setup := tl.prepare(tl.make_config(settings))).plan
    batch = plan.batches(0)
    for row, picture in zip(batch.tokens, batch.pictures, strict=True):
        text = setup.tokenizer.decode(row[len(setup.model.picture_marks) :].tolist())
        assert all(f"a {colour} {shape} at the {at}" in text for at, colour, shape in recognise(picture))
    loss = plan.loss(setup.model, batch)
    other = plan.loss(setup.model, dataclasses.replace(batch, pictures=batch.pictures[::-1]))
    assert loss.item() != other.item()
    parts = [(plan.loss(setup.model, part).item(), part.count) for part in batch.split(3)]
    assert np.isclose(sum(x * n for x, n in parts) / batch.count, loss.item(), rtol=1e-5)
    asked, answer = setup.sample(setup.model).split("\n", 1)
    ended = tl.prepare(tl.make_config(settings | {"sft.end": answer[0]}))
    assert ended.sample(ended.model) == f"{asked}\n{answer[0]}"  # a sample ends with its answer


def test_what_cannot_be_done_with_pictures_is_refused(run, refused):
    pathlib.Path("half.ppm").write_bytes(ppm(np.zeros((16, 16, 3), np.uint8))[:-1])
    pathlib.Path("remarks.ppm").write_bytes(b"P6 " + 99 * b"# " + b"x")  # a regex must not try 2^99 ways
    look = "generate", run[0], "--prompt", "The picture", "--picture"
    train = "train", "--model", "fuyu", "--data", "world:caption,n=60", "--out", "other"
    for words, message in (
        ([*look, "half.ppm"], "half.ppm is not a whole PPM file"),
        ([*look, "remarks.ppm"], "remarks.ppm is not a whole PPM file"),
        ([*look, "world:stories"], "world:stories is about no pictures"),
        ([*look, "world:caption", "--beams", "2"], "--beams reads no pictures"),
        (["generate", "shipped", "--picture", "world:caption"], "sees no pictures"),
        (train, "has some: use `tinyllm train sft`"),
        ([train[0], "sft", *train[1:], "--set", "sft.packed=true"], "sft.packed is for texts"),
        ([train[0], "sft", *train[1:], "--set", "model.context=20"], "to validate on teaches anything"),
    ):
        assert message in refused(*words)
    assert not pathlib.Path("other").exists()


def ppm(picture):
    """Return a picture (H, W, 3) as a PPM file."""
    height, width, _ = picture.shape
    return b"P6\n%d %d\n255\n" % (width, height) + picture.tobytes()


@given(shape=st.tuples(st.integers(1, 5), st.integers(1, 5)), seed=st.integers(0, 99))
def test_a_ppm_file_comes_back(tmp_path_factory, shape, seed):
    picture = np.random.default_rng(seed).integers(0, 256, (*shape, 3), dtype=np.uint8)
    path = tmp_path_factory.mktemp("ppm") / "picture.ppm"
    for data in (ppm(picture), ppm(picture).replace(b"P6\n", b"P6\n# by hand\n", 1)):
        path.write_bytes(data)
        assert np.array_equal(read_picture(str(path)), picture)
