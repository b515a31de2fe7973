"""A charsmap to try the normalizer `Precompiled` on: see tinyllm/tokenizer/families/charsmap.py."""

import struct


def charsmap(rules):
    """Pack replacements {text: text} as sentencepiece does: bytes, the trie and then the texts.

    Every node with children gets a block of 256 units of its own: wasteful and simple.
    """
    texts, where = b"", {}
    for new in rules.values():
        if new not in where:
            where[new] = len(texts)
            texts += new.encode() + b"\0"
    trie = {}
    for old, new in rules.items():
        node = trie
        for byte in old.encode():
            node = node.setdefault(byte, {})
        node[None] = where[new]
    units, todo, leaves, size = {}, [(0, 0, trie)], [], 0
    for position, label, node in todo:
        if node.keys() == {None}:
            leaves.append((position, label, node[None]))
            continue
        size += 256
        units[position] = label | ((None in node) << 8) | ((position ^ size) << 10)
        if None in node:
            units[size] = node[None] | 1 << 31
        todo += [(size ^ byte, byte, child) for byte, child in node.items() if byte is not None]
    size += 256
    for position, label, value in leaves:
        units[position] = label | 1 << 8 | ((position ^ size) << 10)
        units[size] = value | 1 << 31
        size += 1
    array = struct.pack(f"<{size + 256}I", *(units.get(i, 0) for i in range(size + 256)))
    return struct.pack("<I", len(array)) + array + texts
