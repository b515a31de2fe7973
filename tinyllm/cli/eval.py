"""Implement `tinyllm eval`, which asks a trained model questions whose answers can be scored."""

from json import dumps

from tinyllm.cli.command import command
from tinyllm.cli.opening import Which, chosen


@command("eval")
def evaluate(run: str | None = None, *, task: str, shots: int = 0, limit: int = 200, likelihood: bool = False,
             seed: int = 0, which: Which = "best", json: bool = False) -> None:
    """Ask a model questions, and score its answers.

    Print the mean score from 0 to 1, its 95 % interval, the mean score of guessing, and the number of
    questions, which are in no text for training. The model writes its likeliest answers.

    RUN           a run, a model's folder, or `shipped`; if left out, the newest run
                  in runs/, or the model that comes with tinyllm if there is none
    --task NAME   what is asked: a kind of text with settings, world:KIND,DIAL=VALUE
    --shots K     how many questions with their answers stand before each question
    --limit N     how many questions are asked
    --likelihood  take the likeliest of the possible answers, if the kind has them
    --seed S      chooses the shots
    --which       which checkpoint
    --json        print one JSON object on the last line

    example:
      tinyllm train --data world:parity,size=4 --out runs/parity
      tinyllm eval runs/parity --task world:parity,size=4
      tinyllm eval runs/parity --task world:parity,size=4 --shots 2 --json
    """
    from tinyllm.eval import find_task, measure
    from tinyllm.runs import open_model

    asked = find_task(task)  # first: a wrong name fails before a model is read
    row = measure(open_model(chosen(run, shipped=True), which), asked, shots, limit, likelihood, seed)
    print("{task}  {score:.3f} ({low:.3f} to {high:.3f})  chance {chance:.3f}  n {n}".format(**row))
    if json:
        print(dumps(row))
