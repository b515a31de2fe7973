"""Train with clients in processes of their own by Flower, over loopback, and compare with one process.

    PYTHONPATH=. FLOWER/bin/python tests/proofs/verify_flower.py

FLOWER is an environment with `pip install '.[federated]'`. A SuperLink and a SuperNode for each client run
examples/federated. Weights, log and refusals must have the bits of `tinyllm train federated`. Then one client
is killed, and may cost a round at most; one with another tokenizer must be refused by name, and one that asks
for privacy, which the server does not promise, must refuse. Exits with 1 if anything differs, and with 77
without Flower.
"""

import argparse
import os
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path

from tiny_run import SETTINGS, outcome

from tinyllm.files import read_text
from tinyllm.runs import Run
from tinyllm.runs.log import read_log

ROOT, BIN = Path(__file__).parents[2], Path(sys.executable).parent
DATA = "world:facts,n=200"


def arguments(folder, clients, **settings):
    """Return what follows `tinyllm train federated`."""
    settings = SETTINGS | {"tokenizer": "byte", "train.eval_every": 1, "train.checkpoint_every": 1,
                           "federated.clients": clients, "federated.local_steps": 3} | settings
    chosen = [word for name, value in settings.items() for word in ("--set", f"{name}={value}")]
    return ["--data", DATA, "--out", str(folder), "--overwrite", *chosen]


@contextmanager
def federation(place, nodes):
    """Start a SuperLink, and a SuperNode with each of the settings `nodes` -> (environment, processes)."""
    ports = [free_port() for _ in range(len(nodes) + 1)]
    link = f"127.0.0.1:{ports[0]}"
    (place / "config.toml").write_text(f'[superlink]\ndefault = "here"\n[superlink.here]\n'
                                       f'address = "{link}"\ninsecure = true\n')
    environment = os.environ | {"FLWR_HOME": str(place), "FLWR_TELEMETRY_ENABLED": "0",
                                "FLWR_DISABLE_UPDATE_CHECK": "1", "TINYLLM_THREADS": "1",
                                "PYTHONPATH": str(ROOT), "PATH": f"{BIN}:{os.environ['PATH']}"}
    commands = [["flower-superlink", "--insecure", "--port", str(ports[0]),
                 "--disable-runtime-dependency-installation"]]
    commands += [["flower-supernode", "--insecure", "--superlink", link, "--port", str(port),
                  "--node-config", node] for port, node in zip(ports[1:], nodes, strict=True)]
    processes = []
    try:
        for i, command in enumerate(commands):
            with open(place / f"{i}.txt", "w") as output:
                processes.append(subprocess.Popen(command, env=environment, cwd=place, stdout=output,
                                                  stderr=subprocess.STDOUT, start_new_session=True))
            while i == 0 and not listens(ports[0]) and processes[0].poll() is None:
                time.sleep(0.2)  # beside other work, it takes long to start
        yield environment, processes
    finally:
        for process in processes:
            end(process)


def end(process):
    """Kill a process with all that it has started."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def listens(port):
    with socket.socket() as found:
        return found.connect_ex(("127.0.0.1", port)) == 0


def rounds(folder):
    """Return {round: its record} of a log, as far as it is written."""
    path = Run(folder).log.path
    records = read_log(path) if path.exists() else []
    return {record["step"]: record for record in records if record["kind"] == "step" and record["step"]}


def train(environment, place, folder, steps, words, kill=None):
    """Train by Flower; end the process `kill` after the first round -> if the last round was reached."""
    line, end_at = f'arguments="{shlex.join(words)}"', time.monotonic() + 400
    subprocess.run(["flwr", "run", str(ROOT / "examples/federated"), "here", "--run-config", line],
                   env=environment, cwd=place, check=True, stdout=subprocess.DEVNULL)
    while max(found := rounds(folder), default=0) < steps and time.monotonic() < end_at:
        if kill and found:
            end(kill)
            kill = None
        time.sleep(0.5)
    return max(rounds(folder), default=0) == steps


def main(argv=None):
    """Run the trials and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="two rounds")
    args = parser.parse_args(argv)
    if not find_spec("flwr"):
        return 77
    steps, good = 2 if args.quick else 4, []
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        words = arguments(place / "one", 2, **{"train.steps": steps})
        subprocess.run([sys.executable, "-m", "tinyllm", "train", "federated", *words], check=True, cwd=ROOT,
                       stdout=subprocess.DEVNULL)
        with federation(place, [f'data="{DATA}"'] * 2) as (environment, _):
            words = arguments(place / "several", 2, **{"train.steps": steps})
            good += [train(environment, place, place / "several", steps, words)]
        time.sleep(1)
        good += [outcome(place / "one") == outcome(place / "several")]
        print(f"=> {steps} rounds of two clients in processes of their own:",
              "the bits of one process" if good[-1] else "OTHER BITS", flush=True)
        text = place / "other.txt"
        text.write_text("To be or not to be. " * 300)
        nodes = [f'data="{DATA}"', f'data="{DATA}"', f'data="{text}"', f'data="{DATA}" epsilon=8.0']
        with federation(place, nodes) as (environment, processes):
            words = arguments(place / "killed", 4, **{"train.steps": steps, "federated.timeout": 60,
                                                      "tokenizer": "char"})
            good += [train(environment, place, place / "killed", steps, words, kill=processes[1])]
        log = read_text(Run(place / "killed").log.path)
        used = [record["clients"] for record in rounds(place / "killed").values()]
        reasons = "it has another tokenizer (SHA-256", "it trains with private.epsilon from"
        good += [len(used) == steps and min(used) >= 1, all(why in log for why in reasons)]
        print("=> a client killed, one with another tokenizer, one that wants privacy:",
              f"clients used in each round {used};",
              "refused by name" if good[-1] else "NOT REFUSED", flush=True)
    return 0 if all(good) else 1


if __name__ == "__main__":
    sys.exit(main())
