"""Check scaling laws: fits of exact and of published points, the facts' floor, and `tinyllm scaling`."""

import numpy as np
import pytest

from tinyllm.course.syllabus import lessons_folder
from tinyllm.ops import compute_optimal, scaling_error
from tinyllm.runs import scaling

LAW = np.array([1.7, 400.0, 0.34, 410.0, 0.28])
GRID = np.array([(N, D) for N in np.geomspace(1e7, 1e10, 5) for D in np.geomspace(1e9, 1e12, 6)])
EXACT = np.c_[GRID, scaling.predicted_loss(LAW, *GRID.T)]
CHINCHILLA = lessons_folder() / "37_scaling_laws" / "chinchilla.csv"


def test_a_fit_finds_the_law_from_which_points_were_computed_and_one_bad_run_does_not_bend_it():
    assert scaling.fit_law(EXACT) == pytest.approx(LAW, rel=1e-3)
    bad = EXACT.copy()
    bad[7, 2] *= 2
    law = scaling.fit_law(bad)
    assert law == pytest.approx(LAW, rel=0.02)
    assert scaling.fit_law(EXACT, start=1.1 * LAW) == pytest.approx(LAW, rel=1e-3)
    low, high = scaling.intervals(bad, law, np.asarray, draws=10)
    assert np.all(low <= 1.001 * LAW) and np.all(high >= 0.999 * LAW)


def test_the_best_sizes_are_where_no_other_division_of_the_flops_has_a_lower_loss():
    flops = np.geomspace(1e17, 1e24, 8)
    params, tokens = compute_optimal(LAW, flops)
    lowest = scaling.predicted_loss(LAW, params, tokens)
    assert 6 * params * tokens == pytest.approx(flops)
    for factor in (0.9, 1.1):
        assert np.all(scaling.predicted_loss(LAW, params * factor, tokens / factor) > lowest)


def test_without_a_floor_the_fit_is_worse_and_says_that_the_loss_falls_for_ever():
    law = scaling.fit_law(EXACT, floor=False)
    assert law[0] == 0 and scaling.predicted_loss(law, 1e30, 1e30) < 0.2  # less than any text
    assert scaling_error(law, *EXACT.T) > 100 * scaling_error(scaling.fit_law(EXACT), *EXACT.T)


def test_the_published_points_of_chinchilla_give_the_exponents_that_were_found_in_them():
    points = scaling.read_points(str(CHINCHILLA))
    E, _, alpha, _, beta = scaling.fit_law(points)
    assert len(points) == 240  # Besiroglu et al. 2024, table 1, with their standard errors
    assert abs(E - 1.82) < 0.03 and abs(alpha - 0.3478) < 0.02 and abs(beta - 0.3658) < 0.02


def test_kaplans_exponents_come_out_of_points_that_are_drawn_from_his_published_law():
    # The points of Kaplan et al. 2020 are not published: these are computed from their equation 1.5.
    def loss(N, D):
        return ((6.4e13 / N) ** (0.076 / 0.103) + 1.8e13 / D) ** 0.103

    sizes, budgets = np.geomspace(1e5, 1e9, 9), np.geomspace(1e7, 1e10, 9)
    of_sizes = [(N, 1e40, loss(N, 1e40)) for N in sizes]
    of_budgets = [(1e40, D, loss(1e40, D)) for D in budgets]
    law = scaling.fit_law(of_sizes + of_budgets, floor=False)
    assert law[2] == pytest.approx(0.076, abs=0.004) and law[4] == pytest.approx(0.103, abs=0.004)


def test_the_floor_is_the_loss_of_one_who_knows_all_facts_and_no_draw_of_facts_is_below_it():
    facts = scaling.Facts()
    truth = np.full((len(facts.names), 2 * scaling.NAMES), 1e-30)
    truth[:, : scaling.NAMES] = facts.other
    truth[np.arange(len(truth)), facts.values] += 1 - scaling.NOISE

    class Knows:
        def eval(self):
            return lambda names: type("", (), {"data": np.log(truth)[:, None].repeat(2, axis=1)})

    assert facts.loss(Knows()) == pytest.approx(facts.floor) and facts.shares.sum() == pytest.approx(1)
    batches = [facts.batch(256, 0, step) for step in range(40)]
    names = np.concatenate([batch.tokens for batch in batches])
    said = np.concatenate([batch.targets[:, 1] for batch in batches])
    which = np.argsort(facts.names @ [scaling.NAMES, 1])[names @ [scaling.NAMES, 1] - scaling.NAMES]
    assert -np.log(truth[which, said]).mean() == pytest.approx(facts.floor, abs=0.05)
    assert np.bincount(which)[:4] / len(which) == pytest.approx(facts.shares[:4], abs=5e-4)  # told evenly


@pytest.fixture
def short(monkeypatch):
    monkeypatch.setattr(scaling, "RUNS", [(4, 8), (8, 8), (12, 8), (4, 13), (8, 13), (4, 20), (16, 30)])


def test_the_same_call_says_the_same_and_its_points_give_the_same_law(here, short, printed):
    said = printed("scaling", "--out", "laws", "--seeds", "2")
    assert "seed 1" in said and "% of what is above the floor" in said
    page = (here / "laws" / "scaling.html").read_text()
    assert "predicted" in page and "measured" in page and "larger run" in page
    assert printed("scaling", "--out", "laws", "--seeds", "2") == said
    again = printed("scaling", "laws/points.csv", "--out", "again")
    first, second = (next(line.split() for line in each.splitlines() if line.startswith("all"))
                     for each in (said, again))
    assert first == second
    assert "larger run" not in (here / "again" / "scaling.html").read_text()


def test_a_run_tells_its_losses_on_the_way_and_reads_facts_of_its_own():
    facts, read = scaling.Facts(), []
    run = scaling.measure(facts, 4, 30, 0, also=(10, 20))
    assert [tokens for _, tokens, _ in run] == [40, 80, 120] and run[-1:] == scaling.measure(facts, 4, 30, 0)
    facts.batch, draw = (lambda *run: (read.append(run), draw(*run))[1]), facts.batch
    for width, steps, seed in ((4, 2, 0), (4, 1, 0), (8, 2, 0), (4, 2, 1)):
        scaling.measure(facts, width, steps, seed)
    assert len({run[1:] for run in read}) == len(read) == 7


@pytest.mark.parametrize("text, why", [
    ("1,2\n", "params,tokens,loss"), ("a,b,c\n", "params,tokens,loss"), ("", "params,tokens,loss"),
    ("1,2,-3\n", "above 0"), ("5,6,7\n5,8,9\n", "1 different sizes"), (None, "runs.csv"),
    ("1,2,3\n2,3,3\n3,4,2\n", "3 runs, and a law has 5 numbers"),
    ("1,2,1e300\n", "above 0 and below 1e30"),
    ("".join(f"{2**i},{20 * 2**i},{9 - i}\n" for i in range(8)), "tokens grow with the parameters")])
def test_bad_points_are_refused_in_one_line(here, refused, text, why):
    if text is not None:
        (here / "runs.csv").write_text(text)
    assert why in refused("scaling", "runs.csv", "--out", "x") and not (here / "x").exists()


@pytest.mark.parametrize("out", ["taken", "taken/laws"])
def test_a_file_in_the_place_of_the_folder_is_said_before_anything_is_trained(here, refused, out):
    (here / "taken").write_text("")
    said = f"{out} cannot be a folder, as a file is in the way: move it, or choose another"
    assert said in refused("scaling", "--out", out)


@pytest.mark.parametrize("seeds", [0, 101])
def test_bad_calls_are_refused_in_one_line(here, refused, seeds):
    assert "--seeds must be from 1 to 100" in refused("scaling", "--out", "x", "--seeds", str(seeds))
