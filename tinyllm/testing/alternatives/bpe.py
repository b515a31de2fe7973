"""Right solutions of the ops in bpe.py, written differently."""

from tinyllm.testing.alternative import alternative


@alternative
def bpe_merge_by_stack(ids, pair, new_id):
    done, free = [], False  # free: the last token of `done` has not been used by a merge
    for token in ids:
        if free and (done[-1], token) == tuple(pair):
            done[-1], free = new_id, False
        else:
            done.append(token)
            free = True
    return done


@alternative
def bpe_merge_by_recursion_on_the_rest(ids, pair, new_id):
    ids, merged = list(ids), []
    while ids:
        take = 2 if ids[:2] == list(pair) else 1
        merged.append(new_id if take == 2 else ids[0])
        ids = ids[take:]
    return merged


@alternative
def bpe_merge_by_places(ids, pair, new_id):
    ids = list(ids)
    places, last = set(), -2
    for i in range(len(ids) - 1):
        if i > last + 1 and ids[i : i + 2] == list(pair):
            places.add(i)
            last = i
    gone = {i + 1 for i in places}
    return [new_id if i in places else token for i, token in enumerate(ids) if i not in gone]
