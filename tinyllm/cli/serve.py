"""Implement `tinyllm serve`, which answers HTTP requests as OpenAI's API does."""

from pathlib import Path
from typing import Literal

from tinyllm.cli.command import command
from tinyllm.cli.opening import open_packed
from tinyllm.errors import UserError
from tinyllm.models.registry import locate
from tinyllm.serve.app import LOOPBACK, Api
from tinyllm.serve.listen import bind, listen
from tinyllm.serve.worker import Served, fingerprint


@command("serve")
def serve(runs: list[str], *, host: str = "127.0.0.1", port: int = 8000, api_key: str = "",
          memory: int = 1024, cache: Literal["float32", "bf16", "int8"] = "float32") -> int:
    """Serve models over HTTP, with the requests and answers of OpenAI's API.

    One line says the address when the server is ready; port 0 takes a free one. A browser shows a page for
    chats there. Ctrl-C ends the server. docs/serve.md lists the fields of requests.

    RUNS            runs, models' folders or adapters, or `shipped`; their names are the
                    names of the models
    --host H        the address to listen on; other than loopback it needs --api-key
    --port P        the port
    --api-key K     answer only who sends this key
    --memory MB     the most memory for what the models have read
    --cache         how keys and values are stored

    example:
      tinyllm serve shipped --port 8000
      curl http://127.0.0.1:8000/v1/completions -d '{"prompt": "Once upon a time"}'
    """
    if host not in LOOPBACK and not api_key:
        raise UserError(f"other machines can reach {host}: give --api-key K, too")
    if memory < 1:
        raise UserError(f"--memory must be at least 1 MB, got {memory}")
    names = [Path(locate(run)).resolve().name for run in runs]
    if double := {name for name in names if names.count(name) > 1}:
        raise UserError(f"two models are called {double.pop()}: rename a folder")
    bound = bind(host, port)
    models = []
    for name, run in zip(names, runs, strict=True):
        opened = open_packed(run, cache)
        models.append(Served(name, opened, fingerprint(opened), memory * 2**20 // len(runs)))
    address = f"http://{f'[{host}]' if ':' in host else host}:{bound.getsockname()[1]}"
    hosts = set() if host in ("0.0.0.0", "::") else {host, *LOOPBACK}
    listen(Api(models, hosts, api_key), bound, lambda: print(f"{', '.join(names)}: {address}", flush=True))
    return 0
