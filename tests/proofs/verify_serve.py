"""Prove that the server writes the same texts alone and under load: 10,000 requests, 1,000 leave early.

Every request is asked once alone, and then all are shuffled, many at a time, while others begin and leave.
The texts must be equal, and at the end nothing runs, waits or is left in the cache.
"""

import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

QUICK, ALL = 300, 10_000


def main(words):
    sys.path[:0] = [str(Path(__file__).parents[1] / "unit"), str(Path(__file__).parents[1])]
    from served import ask, make_folder, running
    from test_serve import leave_early, requests, text_of, wait_idle

    asked = list(requests(QUICK if "--quick" in words else ALL))
    order = np.random.default_rng(0).permutation(len(asked))
    with tempfile.TemporaryDirectory() as place:
        folders = [make_folder(place, name) for name in ("plain", "talker")]
        with running(*folders) as process:
            truth = [text_of(ask(process.port, *request)) for request in asked]
        with running(*folders) as process, ThreadPoolExecutor(56) as pool:
            bodies = [{"model": "plain", "prompt": f"Once upon {i % 9}"} for i in range(len(asked) // 10)]
            left = [pool.submit(leave_early, process.port, body, 1 + 7 * i % 999)
                    for i, body in enumerate(bodies)]
            found = list(pool.map(lambda i: text_of(ask(process.port, *asked[i])), order))
            assert len([future.result() for future in left]) == len(left)
            idle = wait_idle(process.port)
    different = sum(texts != truth[i] for i, texts in zip(order, found, strict=True))
    letters = sum(len(text) for texts in truth for text, _ in texts)
    print(f"=> {len(asked):,} requests, {letters:,} characters, alone and under load: {different} differ; "
          f"{idle['first_token_count_total']:,.0f} began, and nothing is left")
    return different


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
