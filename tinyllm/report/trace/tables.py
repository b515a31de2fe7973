"""Make the tables of numbers and the sentences that the page of a trace shows."""

from tinyllm.report.terminal import short
from tinyllm.report.trace.examine import Trace

Table = tuple[list[str], list[list[str]]]  # the heads of columns, and rows whose first cell names them


def layers(trace: Trace) -> Table:
    """Tabulate by layer: length of the stream, lengths of the added vectors, surprisal by the logit lens."""
    rows = []
    for i, lens in enumerate(trace.lens):
        added = [f"{lengths[i - 1].mean():.3f}" if i else "" for lengths in trace.added.values()]
        nats = f"{lens.nats.mean():.4f}" if lens.nats.size else ""
        rows.append([lens.name, f"{trace.residual[i].mean():.3f}", *added, nats])
    return ["after", "stream", *(f"{kind} adds" for kind in trace.added), "lens, nats"], rows


def cache(trace: Trace) -> Table:
    """Tabulate the bytes of the KV cache and the FLOPs of the newest token, as the cache grows."""
    rows = [[f"{n:,}" for n in (g.length, g.bytes, g.flops, g.flops_without)] for g in trace.growth]
    return ["tokens", "bytes held", "FLOPs of the newest", "FLOPs without the cache"], rows


def ops_note(trace: Trace) -> str:
    """Describe in a sentence how many ops and FLOPs one pass over the whole text took."""
    total = sum(step.flops for step in trace.ops)
    products = sum(step.flops for step in trace.ops if step.is_product)
    return (f"One pass over the whole text: {len(trace.ops)} ops, {total:,} operations on numbers, "
            f"{100 * products / (total or 1):.1f} % of them in matrix products and attention.")


def cache_note(trace: Trace) -> str:
    """Describe in two sentences the memory that the KV cache takes and the FLOPs that it saves."""
    last = trace.growth[-1]
    same = "the logits are the same bits with it and without"
    if trace.cache_difference:
        same = f"with it and without, the logits differ by at most {trace.cache_difference:.2g}"
    return (f"KV cache: the keys and values of the past are {last.bytes // last.length:,} bytes for each "
            f"token, {last.bytes:,} for {last.length}, with room for {trace.context}. The last token cost "
            f"{short(last.flops)} FLOPs with the cache, {short(last.flops_without)} without; {same}.")
