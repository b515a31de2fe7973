"""Prove that the server writes the same texts alone and under load: 10,000 requests, 1,000 leave early.

Half as many are asked alone, and then each twice among many others, while clients begin and leave.
The texts must be equal, and at the end nothing runs, waits or is left in the cache.
"""

import sys
import tempfile
from pathlib import Path

QUICK, ALL = 300, 10_000


def main(words):
    sys.path[:0] = [str(Path(__file__).parents[1] / "unit"), str(Path(__file__).parents[1])]
    from served import make_folder
    from test_serve import answers_under_load

    number = (QUICK if "--quick" in words else ALL) // 2
    with tempfile.TemporaryDirectory() as place:
        folders = [make_folder(place, name) for name in ("plain", "talker")]
        truth, found, idle = answers_under_load(folders, number, 56, number // 5)
    different = sum(texts != right for texts, right in zip(found, truth, strict=True))
    letters = sum(len(text) for texts in truth for text, _ in texts)
    print(f"=> {len(found):,} requests, {letters:,} characters, alone and under load: {different} differ; "
          f"{idle['first_token_count_total']:,.0f} began, and nothing is left")
    return different


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
