"""Let clients in other processes train, by Flower; the app of examples/federated calls this file.

The server sends its settings, too, so that a client needs to say only where its own text is.
"""

import json
import time
from functools import cache
from typing import Any

import numpy as np
from flwr.app import ConfigRecord, Context, Message, RecordDict
from flwr.serverapp import Grid

from tinyllm.errors import UserError
from tinyllm.files import parse_json
from tinyllm.parallel.federated import Client, Reply, dealt, pack, unpack
from tinyllm.runs.config import RunConfig, make_config
from tinyllm.runs.setup import prepare


class Nodes:
    """Ask the nodes that are connected to a SuperLink; the i-th that connected is client i."""

    def __init__(self, grid: Grid):
        self.grid = grid
        self.nodes: list[int] = []

    def __call__(self, config: RunConfig, sent: dict[str, np.ndarray], step: int, drawn: list[int]
                 ) -> dict[int, Any]:
        """Return {number of a client: its Reply, or in a text why there is none}."""
        options: Any = config.options
        self.connect(options.clients, options.timeout)
        numbers = {self.nodes[number]: number for number in drawn}
        record: dict[str, Any] = {"message": pack(sent, round=step), "settings": json.dumps(config.flat())}
        messages = [Message(RecordDict({"sent": ConfigRecord(record | {"client": number})}), node, "train",
                            ttl=options.timeout) for node, number in numbers.items()]
        replies: dict[int, Any] = dict.fromkeys(drawn, f"it did not answer within {options.timeout:g} s")
        for message in self.grid.send_and_receive(messages, timeout=options.timeout):
            number = numbers.get(message.metadata.src_node_id, -1)
            try:
                replies[number] = received(message)
            except UserError as error:
                replies[number] = str(error)
        return {number: replies[number] for number in drawn}  # none that the SuperLink sent itself

    def connect(self, count: int, timeout: float) -> None:
        """Wait until as many nodes are connected as there are clients; a new one replaces one that left."""
        end = time.monotonic() + timeout
        while True:
            here = sorted(self.grid.get_node_ids())
            new = [node for node in here if node not in self.nodes]
            self.nodes = [node if node in here or not new else new.pop(0) for node in self.nodes] + new
            if len(self.nodes) >= count:
                return
            if time.monotonic() > end:
                raise UserError(f"{len(self.nodes)} of {count} clients have connected in {timeout:g} s: "
                                f"start more SuperNodes, or set federated.clients={len(self.nodes) or 1}")
            time.sleep(1)


def received(message: Message) -> Reply:
    """Return what a client sent. Raises UserError if it is no Reply."""
    if message.has_error():
        raise UserError(f"it failed: {message.error.reason}")
    record: Any = message.content.config_records.get("reply", {})
    if "refused" in record:
        raise UserError(record["refused"])
    kinds = {"tokens": int, "loss": float, "digests": {str: str}}
    return Reply(**unpack(record.get("message", b""), kinds))


def answer(message: Message, context: Context) -> Message:
    """Train as a client on the text that its node was started with, --node-config 'data="my.txt"'."""
    asked: Any = message.content.config_records["sent"]
    record: dict[str, Any] = {}
    try:
        if not (own := context.node_config.get("data")):
            raise UserError("it has no text: start its SuperNode with --node-config 'data=\"my.txt\"'")
        sent = unpack(asked["message"], {"round": int})
        reply = client_of(asked["settings"], own, asked["client"]).train(sent["weights"], sent["round"])
        record["message"] = pack(**reply._asdict())
    except UserError as error:
        record["refused"] = str(error)
    return Message(RecordDict({"reply": ConfigRecord(record)}), reply_to=message)


@cache
def client_of(settings: str, data: str, number: int) -> Client:
    """Return a client with a text; if it is the server's, all clients divide it, as without Flower."""
    asked = parse_json(settings)
    setup = prepare(make_config(asked | {"data": data}))
    if data == asked["data"]:
        setup.corpus = dealt(setup, number)
    return Client(setup, number)
