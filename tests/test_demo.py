"""The demo: its promised accuracy, and the files that it writes."""

import sys

import numpy as np
import pytest
from matplotlib.figure import Figure

import nncore as nc
from nncore._cli import demo
from nncore._cli.main import main
from pictures import Picture


def test_held_out_accuracy_over_five_splits():
    results = []
    for split in range(5):
        digits = demo.load_digits(split)
        model, _ = demo.train(digits, seed=split, progress=False)
        results.append(demo.accuracy(model, digits))
    assert np.mean(results) >= 0.975
    assert min(results) >= 0.965


@pytest.mark.slow  # pointless under sanitizers
def test_training_takes_less_than_ten_seconds():
    _, history = demo.train(demo.load_digits(0), seed=0, progress=False)
    assert history.epochs == demo.EPOCHS
    assert sum(history["seconds"]) < 10


def test_the_command_says_where_everything_is(tmp_path, capsys):
    assert main(["demo", "--out", str(tmp_path / "new" / "folder"), "--epochs", "2"]) == 0
    printed = capsys.readouterr().out
    model_file, picture = (
        tmp_path / "new" / "folder" / "digits.safetensors",
        tmp_path / "new" / "folder" / "digits.png",
    )
    assert str(model_file) in printed
    assert str(picture) in printed
    assert Picture(picture).size == (1430, 462)
    digits = demo.load_digits(0)
    model = nc.load(model_file)
    assert demo.accuracy(model, digits) == model.metadata["accuracy"] > 0.5
    assert f"{model.metadata['accuracy']:.2%}" in printed


def test_the_picture_shows_the_curves_the_confusion_matrix_and_mistakes(tmp_path, monkeypatch):
    digits = demo.load_digits(0)
    model, history = demo.train(digits, seed=0, epochs=2, progress=False)
    drawn = []
    save = Figure.savefig

    def keep(figure, *arguments, **options):
        drawn.append(figure)
        save(figure, *arguments, **options)

    monkeypatch.setattr(Figure, "savefig", keep)
    demo.draw(model, history, digits, tmp_path / "digits.png")
    curves, matrix, mistakes = drawn[0].subfigs

    losses, rates = curves.axes
    for axes, name in ((losses, "loss"), (rates, "accuracy")):
        for line, key in zip(axes.lines, (name, f"val_{name}"), strict=True):
            assert line.get_ydata().tolist() == history[key]

    guesses = model.predict(digits.x_test).argmax(axis=1)
    right = int(np.sum(guesses == digits.y_test))
    texts = [text for text in matrix.axes[0].texts if text.get_visible()]
    counts = {text.get_position(): int(text.get_text()) for text in texts}
    assert sum(counts.values()) == 450
    assert sum(count for (column, row), count in counts.items() if column == row) == right
    for (column, row), count in counts.items():
        assert count == np.sum((guesses == column) & (digits.y_test == row))
    assert matrix.axes[0].get_title() == f"Held out: {right} of 450 right"

    shown = [axes for axes in mistakes.axes if axes.images]
    assert len(shown) == min(12, 450 - right) > 3
    for axes in shown:
        image = np.asarray(axes.images[0].get_array()).ravel()
        (index,) = np.flatnonzero((digits.x_test == image).all(axis=1))
        assert digits.y_test[index] != guesses[index]
        assert axes.get_title().startswith(f"{digits.y_test[index]} taken for {guesses[index]}\n")

    picture = Picture(tmp_path / "digits.png")
    assert picture.size == (1430, 462)
    assert picture.pixels("#1f77b4") > 300  # curves
    assert picture.colored() > 8000  # cells of the matrix


def test_held_out_images_are_not_trained_on():
    digits = demo.load_digits(3)
    assert len(digits.x) + len(digits.x_test) == 1797
    assert len(digits.x_test) == 450
    held_out = {image.tobytes() for image in digits.x_test}
    assert sum(image.tobytes() in held_out for image in digits.x) == 0


@pytest.mark.parametrize(
    "package", ["sklearn", "sklearn.datasets", "sklearn.metrics", "matplotlib", "matplotlib.figure"]
)
def test_a_missing_package_is_named_before_any_work(package, monkeypatch, capsys, tmp_path):
    monkeypatch.setitem(sys.modules, package, None)
    assert main(["demo", "--out", str(tmp_path / "out")]) == 1
    said = capsys.readouterr()
    assert "pip install 'nncore-cpu[demo]'" in said.err
    assert said.err.count("\n") == 1
    assert said.out == ""
    assert not (tmp_path / "out").exists()


def test_a_place_that_cannot_be_written_is_named(capsys, tmp_path):
    place = tmp_path / "file"
    place.touch()
    assert main(["demo", "--out", str(place)]) == 1
    assert f"cannot write to {place}: " in capsys.readouterr().err


def test_config_prints_what_show_config_knows(capsys):
    assert main(["config"]) == 0
    printed = capsys.readouterr().out
    for name in nc.show_config():
        assert f"{name}: " in printed


@pytest.mark.parametrize("arguments", [[], ["--help"]])
def test_without_a_command_the_help_is_shown(arguments, capsys):
    try:
        status = main(arguments)
    except SystemExit as stop:  # argparse ends --help so
        status = stop.code
    assert status == 0
    said = capsys.readouterr()
    for text in ("usage: python -m nncore", "demo", "bench", "config"):
        assert text in said.out
    assert said.err == ""


@pytest.mark.parametrize(
    "arguments",
    [["no-such-command"], ["--no-such-option"], ["demo", "--epochs", "0"], ["demo", "--seed", "-1"]],
)
def test_other_commands_are_usage_errors(arguments, capsys):
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 2
    assert "usage: python -m nncore" in capsys.readouterr().err
