"""Train one model on the texts of many clients, in processes of their own: an app for Flower.

The server app is `tinyllm train federated`, whose clients are the nodes that are connected to the SuperLink:
the i-th is client i. It sends its settings, too, so that a client needs to know only where its own text is.
"""

import json
import shlex
import time
from functools import cache

from flwr.app import ConfigRecord, Message, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import ServerApp

from tinyllm.cli import main
from tinyllm.errors import UserError
from tinyllm.files import parse_json
from tinyllm.parallel.federated import ELSEWHERE, Client, Reply, dealt, pack, unpack
from tinyllm.runs import make_config, prepare

client = ClientApp()
server = ServerApp()


@server.main()
def serve(grid, context):
    """Run `tinyllm train federated` with the arguments of the app's config."""
    ELSEWHERE.set(Nodes(grid))
    if code := main(["train", "federated", *shlex.split(context.run_config["arguments"])]):
        raise SystemExit(code)


class Nodes:
    """Ask the nodes that are connected to let their clients train."""

    def __init__(self, grid):
        self.grid, self.nodes = grid, []

    def __call__(self, config, sent, step, drawn):
        """Return {number of a client: its Reply, or in a text why there is none}."""
        options, timeout = config.options, config.options.timeout
        self.connect(options.clients, timeout)
        numbers = {self.nodes[number]: number for number in drawn}
        record = {"message": pack(sent, round=step), "settings": json.dumps(config.flat())}
        messages = [Message(RecordDict({"sent": ConfigRecord(record | {"client": number})}), node, "train",
                            ttl=timeout) for node, number in numbers.items()]
        replies = dict.fromkeys(drawn, f"it did not answer within {timeout:g} s")
        for message in self.grid.send_and_receive(messages, timeout=timeout):
            number = numbers.get(message.metadata.src_node_id, -1)  # of a node that left, the SuperLink sends
            try:
                replies[number] = received(message)
            except UserError as error:
                replies[number] = str(error)
        return {number: replies[number] for number in drawn}

    def connect(self, count, timeout):
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


def received(message):
    """Return the Reply in a message. Raises UserError if there is none."""
    if message.has_error():
        raise UserError(f"it failed: {message.error.reason}")
    record = message.content.config_records.get("reply", {})
    if "refused" in record:
        raise UserError(record["refused"])
    kinds = {"tokens": int, "loss": float, "digests": {str: str}, "epsilon": float}
    message = record.get("message")  # which may be anything
    return Reply(**unpack(message if isinstance(message, bytes) else b"", kinds))


@client.train()
def answer(message, context):
    """Train on the text that the node was started with, --node-config 'data="my.txt"'.

    With 'data="my.txt" epsilon=8.0', only with so much differential privacy, whatever the server asks for.
    """
    asked, record = message.content.config_records["sent"], {}
    try:
        if not (own := context.node_config.get("data")):
            raise UserError("it has no text: start its SuperNode with --node-config 'data=\"my.txt\"'")
        epsilon, most = parse_json(asked["settings"])["private.epsilon"], context.node_config.get("epsilon")
        if most and not 0 < epsilon <= most:
            raise UserError(f"it trains with private.epsilon from above 0 to {most:g}, not {epsilon:g}")
        sent = unpack(asked["message"], {"round": int})
        reply = client_of(asked["settings"], own, asked["client"]).train(sent["weights"], sent["round"])
        record["message"] = pack(**reply._asdict())
    except UserError as error:
        record["refused"] = str(error)
    return Message(RecordDict({"reply": ConfigRecord(record)}), reply_to=message)


@cache
def client_of(settings, data, number):
    """Return a client, whose noise only it knows; if its text is the server's, all divide it."""
    asked = parse_json(settings)
    setup = prepare(make_config(asked | {"data": data, "private.seed": None}))
    if data == asked["data"]:
        setup = dealt(setup, number)
    return Client(setup, number)
