"""Train one model on the texts of many clients, who keep their texts, by Flower."""

import shlex

from flwr.clientapp import ClientApp
from flwr.serverapp import ServerApp

from tinyllm.cli import main
from tinyllm.parallel.federated import ELSEWHERE
from tinyllm.parallel.flower import Nodes, answer

client = ClientApp()
client.train()(answer)
server = ServerApp()


@server.main()
def serve(grid, context):
    ELSEWHERE.set(Nodes(grid))
    if code := main(["train", "federated", *shlex.split(context.run_config["arguments"])]):
        raise SystemExit(code)
