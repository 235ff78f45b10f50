"""The benchmarks: that both sides compute the same, what percentages count, and how runs are compared.

No test here depends on timing.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.path import Path as Outline
from threadpoolctl import threadpool_limits

from nncore._cli import bench
from nncore._cli.main import main
from nncore._cli.workloads import GRID, MNIST, data, initial_parameters
from pictures import Picture, drawn_texts, overlapping_texts

ROOT = Path(__file__).parents[1]
SMALL = [GRID[name] for name in ("tiny", "online", "rl", "tabular", "images")]


@pytest.fixture
def suite(monkeypatch):
    """The modules of bench/, which is not installed."""
    monkeypatch.syspath_prepend(str(ROOT))
    from bench import __main__, baseline, check, functions, modes, picture, report, session, startup

    modules = (__main__, baseline, check, functions, modes, picture, report, session, startup)
    return {module.__name__.removeprefix("bench."): module for module in modules}


@pytest.mark.parametrize("workload", SMALL, ids=lambda workload: workload.name)
def test_the_numpy_net_has_the_gradients_of_central_differences(workload):
    rows, step = 5, 1e-6
    x, y = data(workload, rows)
    net = bench.make_numpy_net(workload, rows, np.float64)
    net.learning_rate = 0.0
    net.step(x.astype(np.float64), y)
    gradient = net.grad.copy()
    for index in np.random.default_rng(0).choice(net.flat.size, 40, replace=False):
        losses = []
        for sign in (1, -1):
            net.flat[index] += sign * step
            losses.append(net.step(x.astype(np.float64), y))
            net.flat[index] -= sign * step
        # The loss is accurate to a few units in the last place, the quotient to that divided by the step.
        np.testing.assert_allclose(
            gradient[index], (losses[0] - losses[1]) / (2 * step), rtol=1e-5, atol=2e-15 / step
        )


@pytest.mark.parametrize("workload", SMALL, ids=lambda workload: workload.name)
def test_both_sides_of_a_comparison_compute_the_same(workload):
    calls = [(sides.call, sides.rows) for sides in bench.make_sides(workload)]
    assert calls == [("step", workload.batch), ("predict", 1), ("predict", 64)]


@pytest.mark.parametrize("workload", GRID.values(), ids=GRID)
def test_inputs_have_the_zeros_that_are_told(workload):
    x, _ = data(workload, 64)
    assert np.array_equal(x[:3], data(workload, 3)[0])
    assert np.mean(x == 0) == pytest.approx(workload.zeros, abs=3 * np.sqrt(0.25 / x.size))


def test_sides_that_differ_are_noticed(monkeypatch, capsys):
    monkeypatch.setattr(bench, "os", type("Os", (), {"environ": bench.SINGLE}))
    forward = bench.NumpyNet.forward
    monkeypatch.setattr(bench.NumpyNet, "forward", lambda self, x: forward(self, x) + np.float32(0.1))
    assert bench.run(["tiny"], 1, 1e-4) == 1
    assert "nncore and NumPy differ: losses by" in capsys.readouterr().err


def test_the_command_prints_a_line_for_every_call(capfd):
    assert main(["bench", "--only", "tiny,online", "--rounds", "1", "--seconds", "0.001"]) == 0
    printed = capfd.readouterr().out.splitlines()
    assert "1 thread" in printed[0]
    table = [line.split() for line in printed[printed.index("") + 2 :]]
    assert [line[:3] for line in table] == [
        [workload.name, call, str(rows)]
        for workload in (GRID["tiny"], GRID["online"])
        for call, rows in (("step", workload.batch), ("predict", 1), ("predict", 64))
    ]
    for *_, theirs, ours, ratio in table:
        # Printed figures are rounded; a ratio has two decimals.
        assert float(ratio) == pytest.approx(float(theirs) / float(ours), rel=0.1, abs=0.005)


@pytest.mark.parametrize(
    "arguments", [["--only", "large"], ["--rounds", "0"], ["--seconds", "0"], ["--seconds", "nan"]]
)
def test_other_options_are_usage_errors(arguments, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["bench", *arguments])
    assert stop.value.code == 2
    assert arguments[0] in capsys.readouterr().err


def test_flops_and_bytes_are_those_of_the_products():
    tiny = GRID["tiny"]  # 1-16-16-1, batch 32, Adam
    forward = 1 * 16 + 16 * 16 + 16 * 1
    assert tiny.step_flops == 2 * 32 * (2 * forward + 16 * 16 + 16 * 1)
    assert tiny.predict_flops(7) == 2 * 7 * forward
    assert tiny.parameters == forward + 33
    assert tiny.step_bytes == 4 * (6 * (forward + 33) + 32)
    online = GRID["online"]  # SGD: one array, read and written
    assert online.step_bytes == 4 * (2 * online.parameters + 784)
    assert MNIST.parameters == sum(a.size for arrays in initial_parameters(MNIST) for a in arrays)


def test_a_ratio_counts_as_worse_beyond_ten_percent(suite):
    before = {"a": 2.0, "b": 2.0, "c": 2.0, "gone": 1.0}
    now = {"a": 1.81, "b": 1.79, "c": 1.0, "new": 0.1}
    assert suite["baseline"].worse(now, before) == ["c: 1.00 of 2.00 (-50 %)", "b: 1.79 of 2.00 (-10 %)"]
    assert suite["baseline"].worse(before, before) == []


def result(peer, us, variant=(), threads=1):
    return {
        "mode": "epoch",
        "case": {"workload": "tiny"},
        "peer": peer,
        "threads": threads,
        "us": us,
        "variant": dict(variant),
    }


def test_the_ratio_is_that_of_the_best_peer_that_did_the_same(suite):
    results = [
        result("nncore", 2.0),
        result("train_epoch", 1.0),  # also nncore
        result("NumPy", 9.0),
        result("JAX", 5.0),
        result("nn-engine-core", 3.0, {"activation": "relu"}),
        result("probe fma", 1e-5),
        result("nncore", 4.0, threads=2),
    ]
    one, two = suite["report"].make_rows(results)
    assert (one.best_peer, one.ratio) == ("JAX", 2.5)
    assert one.probes == {"fma": pytest.approx(100.0)}  # GFLOP/s
    assert one.share == pytest.approx(GRID["tiny"].step_flops / 2e-6 / 100e9)
    assert (two.best_peer, two.ratio, two.share) == (None, None, None)
    assert suite["report"].ratios(results) == {"epoch: tiny, 1 thread": 2.5}
    table = suite["report"].ratio_table(results, markdown=True).splitlines()
    assert table[2] == "| tiny | 2.00 | 1.00 | 9.00 | 5.00 | 3.00* | JAX | 2.50 | 27% |"


def test_tables_have_blanks_where_there_is_no_probe(suite):
    results = [
        result("nncore", 4.0),
        result("probe fma", 1e-5),
        result("nncore", 2.0, threads=2),
        result("JAX", 5.0, threads=2),
        result("probe fma", 8e-6, threads=2),
    ]
    table = suite["report"].threads_table(results, markdown=True).splitlines()
    assert table[2] == "| tiny | 4.00 | 2.00 | 2.00 | 1.25 | 1.60 | JAX | 5.00 | 2.50 |"
    unprobed = [r for r in results if not r["peer"].startswith("probe")]
    table = suite["report"].threads_table(unprobed, markdown=True).splitlines()
    assert table[2] == "| tiny | 4.00 | 2.00 | 2.00 |  |  | JAX | 5.00 | 2.50 |"
    table = suite["report"].ratio_table(unprobed, markdown=True).splitlines()
    assert table[3] == "| tiny | 2.00 | 5.00 | JAX | 2.50 |  |"


def test_the_picture_is_drawn_of_any_part_of_the_grid(suite, tmp_path):
    results = [
        result("nncore", 5.0),
        result("NumPy", 30.0),
        result("probe fma", 1e-5),
        result("probe cache", 1e-5),
        result("probe memory", 1e-4),
    ]
    suite["picture"].draw({"results": results}, tmp_path / "one.png")
    suite["picture"].draw({"results": [r for r in results if r["peer"] != "NumPy"]}, tmp_path / "alone.png")
    unprobed = [r for r in results if not r["peer"].startswith("probe")]
    suite["picture"].draw({"results": unprobed}, tmp_path / "unprobed.png")
    one, alone, unprobed = (Picture(tmp_path / f"{name}.png") for name in ("one", "alone", "unprobed"))
    ours, peer, roof = suite["picture"].OURS, suite["picture"].PEER, suite["picture"].ROOF
    for picture in (one, alone, unprobed):
        assert picture.size == (1170, 780)
        assert picture.pixels(ours) > 150
    assert one.pixels(peer) == unprobed.pixels(peer) > 80
    assert alone.pixels(peer) == 0
    letters = unprobed.pixels(roof)  # labels have the same gray
    assert min(one.pixels(roof), alone.pixels(roof)) > 200 + letters
    with pytest.raises(SystemExit, match="needs the mode epoch"):
        suite["picture"].draw({"results": []}, tmp_path / "none.png")


#: What nncore and its best peer took for a step, in microseconds, in docs/performance.md.
STEPS = {
    "tiny": (2.51, 6.96),
    "online": (6.21, 9.79),
    "rl": (24.1, 38.4),
    "rl256": (701, 1192),
    "tabular": (565, 855),
    "digits": (262, 353),
    "images": (140, 354),
    "digits2": (3110, 4510),
    "wide1k": (58576, 86051),
    "wide4k": (307077, 475292),
}


def roofline(names, probes):
    """The results of some workloads, beside probes in GFLOP/s and GB/s."""
    for name in names:
        peers = dict(zip(("nncore", "JAX"), STEPS[name], strict=True))
        peers |= {f"probe {probe}": 1e-3 / rate for probe, rate in probes.items()}
        for peer, us in peers.items():
            yield {
                "mode": "epoch",
                "case": {"workload": name},
                "threads": 1,
                "peer": peer,
                "us": us,
                "variant": {},
            }


@pytest.mark.parametrize(
    ("names", "probes", "roof"),
    [
        (STEPS, {"fma": 117, "cache": 117, "memory": 31}, {"fused", "L2,", "memory,"}),
        (STEPS, {"fma": 60, "cache": 80, "memory": 10}, {"fused", "L2,", "memory,"}),
        (STEPS, {}, set()),
        (["digits", "images", "tabular", "rl256"], {"fma": 117, "cache": 117, "memory": 31}, {"fused"}),
    ],
)
def test_labels_of_the_roofline_do_not_overlap(suite, names, probes, roof, tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(Figure, "savefig", lambda figure, *_, **__: drawn.append(figure))
    suite["picture"].draw({"results": list(roofline(names, probes))}, tmp_path / "roofline.png")
    [figure] = drawn
    texts = drawn_texts(figure)
    assert set(names) <= {text for text, _ in texts}
    words = {word for text, _ in texts for word in text.split()}
    assert words & {"fused", "L2,", "memory,"} == roof
    assert not overlapping_texts(figure)
    axes = figure.axes[0]
    lines = [line for line in axes.lines if line.get_visible()]
    assert len(lines) == 3 * len(names) + len(roof)
    for line in lines:
        [*points] = axes.transData.transform(line.get_xydata())
        for text, outline in texts:
            assert not outline.contains_points(points).any(), text  # no text hides a marker
            if len(points) == 2:  # or lies across a line
                assert not outline.intersects_path(Outline(points), filled=False), text


def test_every_function_of_the_suite_has_a_reference(suite):
    functions = suite["functions"]
    for name, shape in functions.function_cases(SMALL) + functions.product_cases(SMALL)[:8]:
        for numbers in functions.reference(name, shape).values():
            assert np.isfinite(numbers).all()


def test_a_peer_that_differs_is_named(suite):
    compare = suite["check"].compare
    case = {"workload": "tiny", "rows": 3}
    right = suite["check"].numpy_peer.reference("predict", GRID["tiny"], 3)
    assert compare("predict", case, {}, right) == ""
    wrong = {"outputs": [number * 1.01 for number in right["outputs"]]}
    assert compare("predict", case, {}, wrong) == "outputs by 1.0e-02, more than 1e-05"
    assert compare("predict", case, {}, {"outputs": [float("nan")] * 3}).startswith("outputs by nan")
    assert compare("predict", case, {"activation": "relu"}, right) != ""


@pytest.mark.parametrize("name", ["tiny", "tabular", "digits"])
def test_fit_of_scikit_learn_does_the_same(suite, name):
    from bench.peers import sklearn_peer

    with threadpool_limits(1):
        job = sklearn_peer.epoch(GRID[name])
        with job.around():  # suppresses warnings, which are errors here
            job.run()
    assert set(job.check) == {"losses", "changes", "epoch loss"}
    assert suite["check"].compare("epoch", {"workload": name}, {}, job.check) == ""


def test_other_hidden_layers_compute_what_the_reference_says(suite):
    from bench import hidden
    from bench.peers import nncore_peer

    for name, layer in hidden.CASES:
        check = nncore_peer.layers(GRID[name], layer).check
        assert bool(check) == (layer != "dropout")
        case = {"workload": name, "hidden": layer}
        assert suite["check"].compare("layers", case, {}, check) == ""
        assert not check or "losses" in suite["check"].compare("layers", case, {}, {"losses": [1e9]})


def run_suite(*arguments):
    command = [sys.executable, "-m", "bench", "--rounds", "1", "--seconds", "0.001", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=dict(os.environ))


def test_the_suite_measures_checks_and_compares_with_a_run_of_before(tmp_path):
    file = tmp_path / "now.json"
    chosen = ("epoch", "step", "predict", "--only", "tiny", "--peers", "NumPy,train_epoch")
    first = run_suite(*chosen, "--json", str(file))
    assert first.returncode == 0, first.stderr
    for mode in ("epoch", "step", "predict"):  # reported once, not for every case
        assert first.stderr.count(f"train_epoch is left out of {mode}: has no {mode}\n") == 1
    report = json.loads(file.read_text())
    assert {result["peer"] for result in report["results"]} >= {"nncore", "NumPy", "probe fma"}
    assert set(report["ratios"]) == {
        "epoch: tiny, 1 thread",
        "step: tiny, 1 thread",
        *(f"predict: tiny {rows}, 1 thread" for rows in (1, 64, 4096)),
    }
    for result in report["results"]:
        assert all(us > 0 for us in result["rounds"])
    report["ratios"] = dict.fromkeys(report["ratios"], 1e9)
    file.write_text(json.dumps(report))
    second = run_suite(*chosen, "--against", str(file))
    assert second.returncode == 1
    assert second.stdout.count("worse than") == len(report["ratios"])


def break_module(name, error, folder, monkeypatch):
    (folder / f"{name}.py").write_text(error)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")]))


def test_peers_and_probes_that_do_not_work_are_left_out(tmp_path, monkeypatch):
    break_module("torch", "raise OSError('a library is not there\\nmore')", tmp_path, monkeypatch)
    break_module("jax", "import os; os._exit(3)", tmp_path, monkeypatch)
    monkeypatch.setenv("CXX", "nonexistent")
    picture = tmp_path / "picture.png"
    answer = run_suite(
        "epoch", "--only", "tiny", "--peers", "NumPy,PyTorch,JAX", "--picture", str(picture), "--markdown"
    )
    assert answer.returncode == 0, answer.stderr
    assert "PyTorch is left out: OSError: a library is not there\n" in answer.stdout
    assert "JAX is left out: JAX ended with status 3\n" in answer.stdout
    assert "probe is left out: FileNotFoundError: " in answer.stdout
    assert "|  | nncore | NumPy | best peer | ratio | % of FMA |" in answer.stdout
    assert Picture(picture).pixels("#0b5fa5") > 150


def test_numpy_is_not_left_out(tmp_path, monkeypatch):
    break_module("threadpoolctl", "raise OSError('a library is not there')", tmp_path, monkeypatch)
    answer = run_suite("epoch", "--only", "tiny", "--peers", "NumPy")
    assert answer.returncode == 1
    assert "OSError: a library is not there" in answer.stderr
    assert "NumPy ended with status 1" in answer.stderr


def test_what_was_measured_before_a_failure_is_written(suite, tmp_path, monkeypatch):
    modes, program = suite["modes"], suite["__main__"]

    def measured(session, scope):
        session.add("growth", {"samples": 1}, "nncore", [1.0], before=1, added=1)

    def failed(session, scope):
        raise suite["session"].Failure("a peer ended")

    found = {name: modes.MODES["growth"]._replace(run=run) for name, run in (("a", measured), ("b", failed))}
    monkeypatch.setattr(program, "MODES", found)
    monkeypatch.setattr(sys, "argv", ["bench", "--json", str(tmp_path / "now.json")])
    with pytest.raises(suite["session"].Failure, match="a peer ended"):
        program.main()
    assert [file.name for file in tmp_path.iterdir()] == ["now.json"]
    report = json.loads((tmp_path / "now.json").read_text())
    assert [result["us"] for result in report["results"]] == [1e6]
    assert report["ratios"] == {}


def test_packages_whose_import_fails_are_left_out(suite, tmp_path, monkeypatch, capsys):
    break_module("broken", "raise OSError('a library is not there')", tmp_path, monkeypatch)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(suite["startup"], "PACKAGES", {"nncore": "nncore-cpu", "broken": "broken"})
    session = suite["session"].Session([], rounds=2, seconds=0.0, cpus=[], lock=None)
    suite["modes"].imports(session, None)
    assert [(result["peer"], len(result["rounds"])) for result in session.results] == [("nncore", 2)]
    assert capsys.readouterr().err == "broken is left out of import: OSError: a library is not there\n"
    break_module("nncore", "raise OSError('nor this')", tmp_path, monkeypatch)
    with pytest.raises(suite["session"].Failure, match="nor this"):
        suite["startup"].measure(1)


@pytest.mark.parametrize(
    "arguments",
    [
        ["--cpus", "9999"],
        ["--cpus", "one"],
        ["--cpus", ""],
        ["--cpus", "{0},{0}"],
        ["--rounds", "0"],
        ["--seconds", "nan"],
        ["--epochs", "-1"],
        ["--most-samples", "0"],
        ["--json", "/nowhere/now.json"],
        ["--picture", "/dev/null"],
    ],
)
def test_the_suite_refuses_values_before_it_measures(suite, arguments, capsys):
    allowed = sorted(os.sched_getaffinity(0))
    name, value = arguments[0], arguments[1].format(*allowed)
    with pytest.raises(SystemExit) as stop:
        suite["__main__"].parse_arguments(["epoch", name, value])
    assert stop.value.code == 2
    message = capsys.readouterr().err.splitlines()[-1]
    assert name in message
    assert value in message
    if name == "--cpus":
        assert f"distinct processors of {', '.join(map(str, allowed))}" in message


def test_the_suite_refuses_names_that_it_does_not_know():
    for arguments in (["large"], ["epoch", "--only", "large"], ["epoch", "--peers", "Torch"]):
        answer = run_suite(*arguments)
        assert answer.returncode == 2
        assert "must be some of" in answer.stderr
