"""The content of pictures, the axes that they are drawn on, and their errors: a section for each function.

The file is long because the six sections share the models, fixtures and readers of axes below.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from itertools import combinations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

import nncore as nc
from nncore import plotting
from pictures import overlapping_texts

CURVES = {
    "loss": [4.0, 2.0, 0.3],
    "accuracy": [0.2, 0.5, 0.9],
    "val_loss": [5.0, 3.0, 1.0],
    "val_accuracy": [0.1, 0.4, 0.8],
    "learning_rate": [0.1, 0.05, 0.0],
    "seconds": [1.0, 1.0, 1.0],
}
PLANE = np.array([[-1.0, -2.0], [1.0, 2.0], [0.5, 0.0], [0.0, 1.0]])


@pytest.fixture(autouse=True)
def _no_figures_stay_open() -> Iterator[None]:
    yield
    plt.close("all")


def history_of(columns: dict[str, list[float]]) -> nc.History:
    history = nc.History(seed=0)
    for row in zip(*columns.values(), strict=True):
        history.append(dict(zip(columns, row, strict=True)))
    return history


def data_of(axes: Axes) -> list[list[float]]:
    return [list(line.get_ydata()) for line in axes.lines]


def legend_of(axes: Axes) -> list[str]:
    legend = axes.get_legend()
    return [] if legend is None else [text.get_text() for text in legend.texts]


def two_classes() -> nc.Sequential:
    """Class 1 where x[0] > x[1]."""
    model = nc.Sequential(nc.Dense(2, 2), nc.Softmax(), seed=0)
    model[0].weight, model[0].bias = [[0.0, 0.0], [1.0, -1.0]], [0.0, 0.0]
    return model


def with_dead_units() -> nc.Sequential:
    """Of 5 relu units, units 1 and 3 are zero on PLANE."""
    model = nc.mlp([2, 5, 4, 1], activation="relu", seed=0)
    model[0].weight[:] = [[1, 1], [0, 0], [1, -1], [-1, 0], [0, 1]]
    model[0].bias[:] = [0, -1, 2, -1, 2.5]
    return model


# Learning curves ----------------------------------------------------------------------------------------


def test_curves_have_the_columns_over_the_epochs() -> None:
    loss, accuracy = history_of(CURVES).plot()
    assert data_of(loss) == [CURVES["loss"], CURVES["val_loss"]]
    assert data_of(accuracy) == [CURVES["accuracy"], CURVES["val_accuracy"]]
    for axes, name in ((loss, "loss"), (accuracy, "accuracy")):
        assert [list(line.get_xdata()) for line in axes.lines] == [[1, 2, 3]] * 2
        assert axes.get_ylabel() == name
        assert legend_of(axes) == ["training", "validation"]
    assert (loss.get_xlabel(), accuracy.get_xlabel()) == ("", "epoch")  # one axis for both
    assert (loss.get_yscale(), accuracy.get_yscale()) == ("log", "linear")
    assert loss.figure is accuracy.figure
    assert not overlapping_texts(loss.figure)


@pytest.mark.parametrize("losses", [[1.0, 0.2], [10.0, 0.0], [10.0, -1.0], [np.nan, np.nan], [np.inf, 1.0]])
def test_losses_that_hardly_change_or_are_not_positive_have_a_linear_axis(losses: list[float]) -> None:
    [axes] = plotting.learning_curves({"loss": losses})
    assert axes.get_yscale() == "linear"
    np.testing.assert_array_equal(data_of(axes), [losses])


def test_curves_of_a_fit_are_those_of_its_history() -> None:
    x = np.linspace(-1, 1, 20).reshape(-1, 1)
    trainer = nc.Trainer(nc.mlp([1, 4, 1], seed=0), "mse", metrics=[nc.binary_accuracy])
    history = trainer.fit(x, x**2 > 0.5, epochs=4, validation_data=(x, x**2 > 0.5), progress=False)
    loss, accuracy = history.plot()
    assert data_of(loss) == [history["loss"], history["val_loss"]]
    assert data_of(accuracy) == [history["binary_accuracy"], history["val_binary_accuracy"]]


def test_columns_that_end_in_one_word_share_a_panel() -> None:
    columns = {"loss": [1.0, 0.5], "up_accuracy": [0.1, 0.2], "val_up_accuracy": [0.3, 0.4]}
    columns |= {"down_accuracy": [0.5, 0.6], "error": [3.0, 2.0]}
    loss, accuracy, error = plotting.learning_curves(columns)
    assert data_of(accuracy) == [
        columns[name] for name in ("up_accuracy", "val_up_accuracy", "down_accuracy")
    ]
    assert legend_of(accuracy) == ["up_accuracy", "val_up_accuracy", "down_accuracy"]
    up, val_up, down = accuracy.lines
    assert up.get_color() == val_up.get_color() != down.get_color()
    assert (up.get_linestyle(), val_up.get_linestyle()) == ("-", "--")
    assert [axes.get_ylabel() for axes in (loss, accuracy, error)] == ["loss", "accuracy", "error"]
    assert legend_of(loss) == legend_of(error) == []
    assert not overlapping_texts(loss.figure)


@pytest.mark.parametrize(
    ("chosen", "panels"),
    [
        ("loss", {"loss": ["loss", "val_loss"]}),
        ("val_loss", {"val_loss": ["val_loss"]}),
        (["learning_rate"], {"learning_rate": ["learning_rate"]}),
        (("seconds", "loss"), {"seconds": ["seconds"], "loss": ["loss", "val_loss"]}),
    ],
)
def test_columns_can_be_chosen(chosen: object, panels: dict[str, list[str]]) -> None:
    axes = history_of(CURVES).plot(chosen)
    assert [one.get_ylabel() for one in axes] == list(panels)
    assert [data_of(one) for one in axes] == [[CURVES[name] for name in names] for names in panels.values()]


def test_a_history_of_times_alone_is_drawn() -> None:
    [axes] = plotting.learning_curves({"seconds": [1.0, 2.0]})
    assert data_of(axes) == [[1.0, 2.0]]


def test_what_has_no_neighbor_is_a_dot() -> None:
    [axes] = plotting.learning_curves({"loss": [1.0, np.nan, 3.0, 4.0, np.nan, 6.0]})
    [line] = axes.lines
    assert (line.get_marker(), line.get_markevery()) == (".", [0, 5])
    [axes] = plotting.learning_curves({"loss": [1.0]})
    assert list(axes.get_xticks()) == [1]
    assert axes.lines[0].get_markevery() == [0]
    [axes] = plotting.learning_curves({"loss": [1.0, 2.0]})
    assert axes.lines[0].get_marker() == "None"


@pytest.mark.parametrize(
    ("history", "columns", "error", "message"),
    [
        ([1.0], None, TypeError, "history must be a History or a dict of columns; got list"),
        (nc.History(0), None, ValueError, "history must have at least one epoch; got none"),
        ({"loss": []}, None, ValueError, "history must have at least one epoch; got none"),
        (
            {"loss": [1], "b": [1, 2]},
            None,
            ValueError,
            "columns of history must have equal lengths; got [1, 2]",
        ),
        (
            {"loss": [[1]]},
            None,
            ValueError,
            "history['loss'] must be a list of one number per epoch; got shape (1, 1)",
        ),
        ({"loss": ["a"]}, None, TypeError, "history['loss'] must"),
        (CURVES, "los", ValueError, "columns must be one of loss, accuracy, val_loss, "),
        (CURVES, "los", ValueError, "got 'los' (did you mean 'loss'?)"),
        (CURVES, [], ValueError, "columns must be at least one name; got none"),
        (CURVES, 3, TypeError, "columns must be a list of names; got int"),
    ],
)
def test_curves_refuse(history: object, columns: object, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=re.escape(message)):
        plotting.learning_curves(history, columns)
    assert plt.get_fignums() == []


# The confusion matrix -----------------------------------------------------------------------------------


def shown_counts(axes: Axes) -> dict[tuple[int, int], str]:
    """By true and predicted class."""
    found = {}
    for text in axes.texts:
        if text.get_visible():
            column, row = text.get_position()
            found[row, column] = text.get_text()
    return found


OUTPUTS = np.array([[0.8, 0.1, 0.1], [0.1, 0.7, 0.2], [0.5, 0.4, 0.1], [0.0, 0.1, 0.9]], np.float32)


@pytest.mark.parametrize(
    ("y_true", "y_pred"),
    [
        ([0, 1, 1, 2], OUTPUTS),
        ([[0], [1], [1], [2]], np.log(OUTPUTS + 1e-3)),
        (np.eye(3)[[0, 1, 1, 2]], OUTPUTS),
        (np.array([0.0, 1.0, 1.0, 2.0]), OUTPUTS),
        ([0, 1, 1, 2], OUTPUTS.argmax(axis=1)),
        ([[0], [1], [1], [2]], OUTPUTS.argmax(axis=1).astype(np.uint8)),
    ],
)
def test_the_confusion_matrix_counts(y_true: object, y_pred: object) -> None:
    axes = plotting.confusion_matrix(y_true, y_pred)
    assert shown_counts(axes) == {(0, 0): "1", (1, 1): "1", (1, 0): "1", (2, 2): "1"}
    np.testing.assert_array_equal(axes.images[0].get_array(), [[1, 0, 0], [1, 1, 0], [0, 0, 1]])
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("predicted", "true")
    assert [label.get_text() for label in axes.get_xticklabels()] == ["0", "1", "2"]


@pytest.mark.parametrize(("threshold", "matrix"), [(0.5, [[1, 1], [1, 1]]), (0.0, [[0, 2], [0, 2]])])
def test_one_output_is_compared_with_the_threshold(threshold: float, matrix: list[list[int]]) -> None:
    axes = plotting.confusion_matrix([0, 0, 1, 1], [[0.2], [0.6], [0.5], [0.4]], threshold=threshold)
    np.testing.assert_array_equal(axes.images[0].get_array(), matrix)


def test_the_confusion_matrix_agrees_with_accuracy() -> None:
    rng = np.random.default_rng(0)
    outputs, truth = rng.normal(size=(200, 4)), rng.integers(4, size=200)
    counts = plotting.confusion_matrix(truth, outputs).images[0].get_array()
    assert counts.sum() == 200
    assert np.trace(counts) / 200 == nc.accuracy(truth, outputs)


def test_fractions_and_names_of_classes() -> None:
    axes = plotting.confusion_matrix(
        [0, 1, 1, 1], [0, 0, 1, 1], normalize="true", class_names=["cat", "mouse"]
    )
    assert shown_counts(axes) == {(0, 0): "1.00", (1, 0): "0.33", (1, 1): "0.67"}
    assert [label.get_text() for label in axes.get_yticklabels()] == ["cat", "mouse"]
    assert not overlapping_texts(axes.figure)


@pytest.mark.parametrize("classes", [10, 20, 21, 60])
def test_labels_of_many_classes_do_not_overlap(classes: int) -> None:
    truth = np.arange(2000) % classes
    guesses = np.random.default_rng(0).permutation(truth)
    axes = plotting.confusion_matrix(truth, guesses, class_names=[f"kind {i}" for i in range(classes)])
    assert len(axes.figure.axes) == (1 if classes <= 20 else 2)  # a bar of colors in place of numbers
    assert bool(shown_counts(axes)) == (classes <= 20)
    assert not overlapping_texts(axes.figure)


@pytest.mark.parametrize(
    ("y_true", "y_pred", "options", "error", "message"),
    [
        (
            [0],
            [0.5],
            {},
            TypeError,
            "y_pred of shape (B,) must be class indices of an integer dtype; got float64",
        ),
        (
            [],
            np.zeros((0, 2)),
            {},
            ValueError,
            "y_pred must be (B, O) or (B,), with a row at least; got (0, 2)",
        ),
        ([0], 3, {}, ValueError, "y_pred must be (B, O) or (B,), with a row at least; got ()"),
        ([0, 1], OUTPUTS, {}, ValueError, "y_true must be (4,) or (4, 3), as y_pred has; got (2,)"),
        ([0, 1], [[0.5]], {}, ValueError, "y_true must be (1,), as y_pred has; got (2,)"),
        ([0, 1], [0], {}, ValueError, "y_true must be (1,), as y_pred is; got (2,)"),
        ([0, 1, 2, 3], OUTPUTS, {}, ValueError, "y_true must be class indices below 3; got 3"),
        ([0, 1, 2, 0.5], OUTPUTS, {}, ValueError, "y_true must be class indices below 3; got 0.5"),
        ([0], [-1], {}, ValueError, "y_pred must be class indices; got -1"),
        ([-1], [1], {}, ValueError, "y_true must be class indices; got -1"),
        ([0], [[np.nan, 1]], {}, ValueError, "y_pred must have no NaN; got NaN in 1 of 1 rows"),
        ([np.nan], [[1, 1]], {}, ValueError, "y_true must have no NaN; got NaN in 1 of 1 rows"),
        ([0], [0], {"class_names": ["a", "b", "c"]}, ValueError, "class_names must be 2 names; got 3"),
        ([0], [0], {"class_names": 3}, TypeError, "class_names must be a list of names; got int"),
        (
            [0],
            [0],
            {"normalize": "rows"},
            ValueError,
            "normalize must be None or one of true, pred, all; got 'rows'",
        ),
        ([0], [0], {"threshold": "x"}, TypeError, "threshold must be a number; got 'x'"),
        ([0], [0], {"ax": 3}, TypeError, "ax must be matplotlib axes; got int"),
    ],
)
def test_the_confusion_matrix_refuses(
    y_true: object, y_pred: object, options: dict[str, object], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=re.escape(message)):
        plotting.confusion_matrix(y_true, y_pred, **options)
    assert plt.get_fignums() == []


# The decision boundary ----------------------------------------------------------------------------------


def field_of(axes: Axes, resolution: int) -> np.ndarray:
    """What the colors stand for, by rows from below."""
    return np.asarray(axes.collections[0].get_array(), float).reshape(resolution, resolution)


def test_the_colors_are_the_classes_that_the_model_names() -> None:
    model = two_classes()
    axes = plotting.decision_boundary(model, PLANE, [0, 1, 1, 0], resolution=30, class_names=["up", "down"])
    across, along = np.linspace(-1.2, 1.2, 30), np.linspace(-2.4, 2.4, 30)  # a tenth more than the data
    x, y = np.meshgrid(across, along)
    np.testing.assert_array_equal(field_of(axes, 30), x > y)
    np.testing.assert_allclose(axes.get_xlim(), (-1.2, 1.2))
    np.testing.assert_allclose(axes.get_ylim(), (-2.4, 2.4))
    _, zeros, ones = axes.collections
    np.testing.assert_array_equal(zeros.get_offsets(), PLANE[[0, 3]])
    np.testing.assert_array_equal(ones.get_offsets(), PLANE[[1, 2]])
    assert legend_of(axes) == ["up", "down"]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("input[0]", "input[1]")


@pytest.mark.parametrize("threshold", [0.5, 0.6])
def test_one_output_is_colors_and_a_line_at_the_threshold(threshold: float) -> None:
    model = nc.Sequential(nc.Dense(2, 1), nc.Sigmoid(), seed=0)
    model[0].weight, model[0].bias = [[1.0, 0.0]], [0.0]
    axes = plotting.decision_boundary(model, PLANE, [0, 1, 1, 0], threshold=threshold, resolution=41)
    expected = 1 / (1 + np.exp(-np.linspace(-1.2, 1.2, 41)))
    np.testing.assert_allclose(field_of(axes, 41), np.tile(expected, (41, 1)), rtol=1e-6)
    line = next(one for one in axes.collections if one.get_paths() and hasattr(one, "levels"))
    x = np.concatenate([path.vertices for path in line.get_paths()])[:, 0]
    if threshold == 0.5:
        np.testing.assert_allclose(x, 0, atol=1e-6)
    assert list(line.levels) == [threshold]
    low, high = axes.collections[0].get_clim()
    assert (low + high) / 2 == pytest.approx(threshold)  # where white is
    assert "output 1" in {one.get_ylabel() for one in axes.figure.axes}


def test_a_threshold_that_no_output_reaches_has_no_line() -> None:
    axes = plotting.decision_boundary(nc.mlp([2, 1], output="sigmoid", seed=0), PLANE, threshold=2)
    assert not any(hasattr(one, "levels") for one in axes.collections)


def test_a_boundary_of_two_inputs_and_several_outputs() -> None:
    across, along = nc.Input(1, name="across"), nc.Input(1, name="along")
    joined = nc.Concatenate()(across, along)
    outputs = [nc.Dense(2, 3, name="kind")(joined), nc.Dense(2, 1, name="level")(joined)]
    model = nc.Model([across, along], outputs, seed=0)
    x = [PLANE[:, :1], PLANE[:, 1:]]
    axes = plotting.decision_boundary(model, x, output="kind", resolution=9)
    grid = np.stack(np.meshgrid(np.linspace(-1.2, 1.2, 9), np.linspace(-2.4, 2.4, 9)), -1).reshape(-1, 2)
    kinds, levels = model.predict([grid[:, :1], grid[:, 1:]])
    np.testing.assert_array_equal(field_of(axes, 9).ravel(), kinds.argmax(axis=1))
    assert legend_of(axes) == ["0", "1", "2"]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("across", "along")
    axes = plotting.decision_boundary(model, x, output=-1, resolution=9, threshold=0)
    np.testing.assert_array_equal(field_of(axes, 9).ravel(), levels[:, 0])


def test_columns_of_a_table_name_the_axes() -> None:
    model = two_classes()
    table = pd.DataFrame(PLANE, columns=["age", "dose"])
    nc.Trainer(model, "cross_entropy").fit(table, [0, 1, 1, 0], progress=False)
    axes = plotting.decision_boundary(model, table[["dose", "age"]], resolution=5)
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("age", "dose")
    np.testing.assert_allclose(axes.get_xlim(), (-1.2, 1.2))


def test_equal_samples_have_some_room() -> None:
    axes = plotting.decision_boundary(two_classes(), [3.0, 4.0], resolution=3)
    assert (axes.get_xlim(), axes.get_ylim()) == ((2.5, 3.5), (3.5, 4.5))


def test_many_classes_have_a_color_each_and_no_legend() -> None:
    model = nc.mlp([2, 12], seed=0)
    axes = plotting.decision_boundary(model, PLANE, [0, 11, 5, 5], resolution=5)
    assert legend_of(axes) == []
    points = axes.collections[1:]
    assert [len(one.get_offsets()) for one in points] == [1, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 1]
    colors = {tuple(one.get_facecolor()[0]) for one in points if len(one.get_facecolor())}
    assert len(colors) == 12


THREE, INTEGERS = nc.mlp([3, 1], seed=0), nc.Input(2, is_integer=True)


@pytest.mark.parametrize(
    ("model", "x", "options", "error", "message"),
    [
        (3, PLANE, {}, TypeError, "model must be a Model; got int"),
        (nc.Model, PLANE, {}, TypeError, "model must be a Model; got the class Model"),
        (nc.Dense(2, 1), PLANE, {}, TypeError, "model must be a Model; got Dense"),
        (THREE, PLANE, {}, ValueError, "model must have one input of 2 features, or two of 1; got [3]"),
        (
            nc.Model(INTEGERS, nc.Dense(4, 1)(nc.Embedding(3, 2)(INTEGERS)), seed=0),
            PLANE,
            {},
            ValueError,
            "inputs of model must be of floats; got 'input', which is of integers",
        ),
        (None, PLANE[:, :1], {}, ValueError, "x must have shape (B, 2); got (4, 1)"),
        (None, PLANE[:0], {}, ValueError, "x must have at least one sample; got none"),
        (None, [[0.0, np.inf]], {}, ValueError, "x must be finite; got [ 0. inf] in row 0"),
        (None, PLANE, {"y": [0, 1]}, ValueError, "y must be (4,) or (4, 2), as x has; got (2,)"),
        (None, PLANE, {"y": [0, 1, 2, 0]}, ValueError, "y must be class indices below 2; got 2"),
        (None, PLANE, {"output": "o"}, ValueError, "output must be one of 1; got 'o'"),
        (None, PLANE, {"output": 1}, ValueError, "output must be below 1; got 1"),
        (None, PLANE, {"output": 0.5}, TypeError, "output must be a name or an index; got float"),
        (None, PLANE, {"resolution": 1}, ValueError, "resolution must be at least 2; got 1"),
        (None, PLANE, {"class_names": ["a"]}, ValueError, "class_names must be 2 names; got 1"),
        (None, PLANE, {"ax": "here"}, TypeError, "ax must be matplotlib axes; got 'here'"),
    ],
)
def test_the_boundary_refuses(
    model: object, x: object, options: dict[str, object], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=re.escape(message)):
        plotting.decision_boundary(two_classes() if model is None else model, x, **options)
    assert plt.get_fignums() == []


def test_one_of_several_outputs_must_be_chosen() -> None:
    x = nc.Input(2)
    model = nc.Model(x, [nc.Dense(2, 1, name="a")(x), nc.Dense(2, 1, name="b")(x)], seed=0)
    with pytest.raises(ValueError, match="output must be one of a, b; got None"):
        plotting.decision_boundary(model, PLANE)


# Histograms ---------------------------------------------------------------------------------------------


def bars_of(axes: Axes) -> tuple[np.ndarray, np.ndarray]:
    """The counts and the edges."""
    heights = np.array([bar.get_height() for bar in axes.patches])
    edges = [bar.get_x() for bar in axes.patches]
    return heights, np.array([*edges, edges[-1] + axes.patches[-1].get_width()])


def notes_of(axes: Axes) -> dict[str, str]:
    """The lines of text above the bars, with their colors."""
    return {text.get_text(): text.get_color() for text in axes.texts}


def test_bars_count_the_weights() -> None:
    model = nc.mlp([4, 30, 3], seed=0)
    first, second = plotting.weight_histograms(model, bins=7)
    for axes, name in ((first, "0.weight"), (second, "2.weight")):
        weights = model.named_parameters()[name]
        counts, edges = np.histogram(weights.astype(np.float64), 7)
        found = bars_of(axes)
        np.testing.assert_array_equal(found[0], counts)
        np.testing.assert_allclose(found[1], edges)
        assert axes.get_title() == f"{name} {weights.shape}"
        assert notes_of(axes) == {}


def test_arrays_can_be_chosen_and_numbers_that_are_not_finite_are_told() -> None:
    model = nc.mlp([2, 3], seed=0)
    model[0].bias[:] = [np.nan, 1, -np.inf]
    [axes] = plotting.weight_histograms(model, "0.bias")
    assert bars_of(axes)[0].sum() == 1
    assert notes_of(axes) == {"2 not finite": "tab:red"}
    norm = nc.Sequential(nc.BatchNorm(3), seed=0)
    assert [one.get_title() for one in plotting.weight_histograms(norm)] == ["0.weight (3,)", "0.bias (3,)"]


def test_activations_are_those_of_the_layers() -> None:
    model = nc.Sequential(nc.Dense(2, 6), nc.Tanh(), nc.Dense(6, 4), nc.Sigmoid(), nc.Dense(4, 1), seed=3)
    tanh, sigmoid = plotting.activation_histograms(model, PLANE, bins=5)
    for axes, part in ((tanh, model[:2]), (sigmoid, model[:4])):
        outputs = part.predict(PLANE).astype(np.float64)
        counts, edges = np.histogram(outputs, 5)
        np.testing.assert_array_equal(bars_of(axes)[0], counts)
        np.testing.assert_allclose(bars_of(axes)[1], edges)
    assert [tanh.get_title(), sigmoid.get_title()] == ["1: Tanh()", "3: Sigmoid()"]
    x, logits = plotting.activation_histograms(model, PLANE, ["input", "2"], bins=5)
    np.testing.assert_array_equal(bars_of(x)[0], np.histogram(PLANE, 5)[0])
    np.testing.assert_array_equal(bars_of(logits)[0], np.histogram(model[:3].predict(PLANE), 5)[0])


def test_dead_units_are_counted_and_shown() -> None:
    model = with_dead_units()
    outputs = model[:2].predict(PLANE)
    assert list(np.flatnonzero((outputs == 0).all(axis=0))) == [1, 3]
    found = plotting.dead_units(model, PLANE)
    assert list(found) == ["1", "3"]
    np.testing.assert_array_equal(found["1"], [1, 3])
    first, second = plotting.activation_histograms(model, PLANE, bins=4)
    zero = f"{np.mean(outputs == 0):.0%} zero"
    assert notes_of(first) == {zero: "black", "2 of 5 units dead": "tab:red"}
    assert bars_of(first)[0].sum() == np.count_nonzero(outputs)
    numbers = {"0", "0.0"}  # of both axes, in their corner
    assert not [pair for pair in overlapping_texts(first.figure) if not numbers.issuperset(pair)]
    dead = len(found["3"])
    assert (f"{dead} of 4 units dead" in notes_of(second)) == (dead > 0)


def test_no_gradient_reaches_the_weights_of_dead_units() -> None:
    model = with_dead_units()
    model.loss_and_gradients(PLANE, np.ones((4, 1)), "mse")
    dead = plotting.dead_units(model, PLANE)["1"]
    assert not model[0].grad_weight[dead].any()
    assert not model[0].grad_bias[dead].any()


def test_units_that_some_sample_wakes_are_not_dead() -> None:
    model = with_dead_units()
    more = np.concatenate([PLANE, [[-5.0, 0.0]]])
    np.testing.assert_array_equal(plotting.dead_units(model, more)["1"], [1])
    [axes] = plotting.activation_histograms(model, more, "1")
    assert notes_of(axes)["1 of 5 units dead"] == "tab:red"


def test_only_relu_dies() -> None:
    model = nc.Sequential(nc.Dense(2, 3), nc.LeakyReLU(0.0), nc.Dense(3, 3), nc.ReLU(), seed=0)
    model.parameters[:] = 0
    assert list(plotting.dead_units(model, PLANE)) == ["3"]
    leaky, relu = plotting.activation_histograms(model, PLANE)
    assert notes_of(leaky) == {}
    assert notes_of(relu) == {"100% zero": "black", "3 of 3 units dead": "tab:red"}
    assert plotting.dead_units(nc.mlp([2, 1], seed=0), PLANE) == {}


def test_relu_of_nested_and_shared_layers_and_several_inputs() -> None:
    left, right = nc.Input(2, name="left"), nc.Input(2, name="right")
    relu = nc.ReLU(name="relu")
    tower = nc.Sequential(nc.Dense(2, 3), nc.ReLU(), name="tower", seed=0)
    model = nc.Model([left, right], [relu(left) + relu(right), tower(left)], seed=0)
    samples = {"left": [[-1.0, 1.0], [-2.0, 1.0]], "right": [[1.0, -1.0], [0.0, -2.0]]}
    dead = plotting.dead_units(model, samples)
    assert list(dead) == ["relu", "relu_2", "tower.1"]
    np.testing.assert_array_equal(dead["relu"], [0])
    np.testing.assert_array_equal(dead["relu_2"], [1])
    np.testing.assert_array_equal(
        dead["tower.1"], np.flatnonzero((tower.predict(samples["left"]) == 0).all(axis=0))
    )
    axes = plotting.activation_histograms(model, samples)
    assert [one.get_title() for one in axes] == ["relu: ReLU()", "relu_2: ReLU()", "tower.1: ReLU()"]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_hidden_values_are_computed_as_predictions_are(dtype: type) -> None:
    model = nc.Sequential(nc.Dense(2, 4), nc.Dropout(0.5), nc.BatchNorm(4), nc.ReLU(), seed=0, dtype=dtype)
    places = range(len(model.values))
    found = model.predict_values(PLANE, places)
    np.testing.assert_array_equal(found[0], PLANE)
    for place in places[1:]:
        np.testing.assert_array_equal(found[place], model[:place].predict(PLANE))
    assert model.predict_values(PLANE, []) == []
    last, first = model.predict_values(PLANE, [4, 1])
    assert last.dtype == first.dtype == dtype
    np.testing.assert_array_equal(last, found[4])
    np.testing.assert_array_equal(first, found[1])


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: plotting.weight_histograms(3), TypeError, "model must be a Model; got int"),
        (lambda: plotting.dead_units(None, PLANE), TypeError, "model must be a Model; got None"),
        (
            lambda: plotting.weight_histograms(nc.Sequential(nc.ReLU(), in_features=2, seed=0)),
            ValueError,
            "model must have a layer with parameters; got none",
        ),
        (
            lambda: plotting.activation_histograms(nc.mlp([2, 1], seed=0), PLANE),
            ValueError,
            "model must have an activation; got none",
        ),
        (
            lambda: plotting.activation_histograms(with_dead_units(), PLANE, "7"),
            ValueError,
            "names must be one of input, 0, 1, 2, 3, 4; got '7'",
        ),
        (
            lambda: plotting.weight_histograms(with_dead_units(), ["0.weights"]),
            ValueError,
            "got '0.weights' (did you mean '0.weight'?)",
        ),
        (
            lambda: plotting.weight_histograms(with_dead_units(), []),
            ValueError,
            "names must be at least one name; got none",
        ),
        (
            lambda: plotting.weight_histograms(with_dead_units(), bins=0),
            ValueError,
            "bins must be at least 1; got 0",
        ),
        (
            lambda: plotting.dead_units(with_dead_units(), PLANE[:0]),
            ValueError,
            "x must have at least one sample; got none",
        ),
        (
            lambda: plotting.activation_histograms(with_dead_units(), PLANE[:, :1]),
            ValueError,
            "x must have shape (B, 2); got (4, 1)",
        ),
    ],
)
def test_histograms_refuse(call: object, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=re.escape(message)):
        call()
    assert plt.get_fignums() == []


# The graph ----------------------------------------------------------------------------------------------


def boxes_of(axes: Axes) -> list[FancyBboxPatch]:
    return [patch for patch in axes.patches if isinstance(patch, FancyBboxPatch)]


def arrows_of(axes: Axes) -> list[FancyArrowPatch]:
    return [patch for patch in axes.patches if isinstance(patch, FancyArrowPatch)]


def way_of(arrow: FancyArrowPatch) -> np.ndarray:
    """Its curve; `get_path` has that of the head too, and ends before it."""
    return np.asarray(arrow._path_original.vertices)


def corners_of(box: FancyBboxPatch) -> tuple[float, float, float, float]:
    return box.get_x(), box.get_y(), box.get_x() + box.get_width(), box.get_y() + box.get_height()


def check_graph(model: nc.Model, axes: Axes) -> None:
    """A box for each value, an arrow for each read, nothing over anything else."""
    boxes, arrows = boxes_of(axes), arrows_of(axes)
    assert len(boxes) == len(model.values)
    reads = [(model.values.index(read), place) for place, v in enumerate(model.values) for read in v.inputs]
    assert len(arrows) == len(reads)
    corners = [corners_of(box) for box in boxes]
    for arrow, (start, end) in zip(arrows, reads, strict=True):
        vertices = way_of(arrow)
        (x0, y0), (x1, y1) = vertices[0], vertices[-1]
        assert corners[start][0] <= x0 <= corners[start][2]
        assert y0 == corners[start][3]
        assert corners[end][0] <= x1 <= corners[end][2]
        assert y1 == corners[end][1]
        assert y0 < y1  # y grows downwards
        for left, top, right, bottom in corners:  # and passes no box on its way
            inside = (vertices[1:-1] > (left, top)) & (vertices[1:-1] < (right, bottom))
            assert not inside.all(axis=1).any()
    for place, (left, top, right, bottom) in enumerate(corners):
        for other_left, other_top, other_right, other_bottom in corners[:place]:
            assert right < other_left or other_right < left or bottom < other_top or other_bottom < top
    assert not overlapping_texts(axes.figure)


def residual(blocks: int) -> nc.Model:
    x = nc.Input(4)
    value = x
    for _ in range(blocks):
        value = value + nc.Dense(4, 4)(nc.ReLU()(nc.Dense(4, 4)(value)))
    return nc.Model(x, nc.Concatenate()(value, x), seed=0)


def each_reads_all() -> nc.Model:
    x = nc.Input(4)
    values = [x]
    for _ in range(5):
        joined = values[0] if len(values) == 1 else nc.Concatenate()(*values)
        values.append(nc.Dense(joined.features, 4)(joined))
    return nc.Model(x, nc.Concatenate()(*values), seed=0)


def crossed() -> nc.Model:
    """Branches that cross unless rows are put in order."""
    a, b, c = (nc.Input(2, name=name) for name in "abc")
    first = [nc.Tanh()(nc.Dense(2, 2)(value)) for value in (c, b, a)]
    return nc.Model([a, b, c], [*first, first[0] * first[0], first[2] - a], seed=0)


@pytest.mark.parametrize(
    "model",
    [
        nc.mlp([64, 256, 10], output="softmax", seed=0),
        residual(1),
        residual(5),
        each_reads_all(),
        crossed(),
        nc.Sequential(nc.Sequential(nc.Dense(3, 2), nc.Tanh(), name="encoder"), nc.Dense(2, 1), seed=0),
    ],
    ids=["mlp", "residual", "deep", "each reads all", "crossed", "nested"],
)
def test_a_box_for_each_value_and_an_arrow_for_each_read(model: nc.Model) -> None:
    axes = model.plot()
    check_graph(model, axes)
    assert axes.get_title() == repr(model).partition("\n")[0]


def test_boxes_say_what_print_says() -> None:
    shared = nc.Dense(2, 2)
    x = nc.Input(2, name="inside")
    model = nc.Model(x, nc.ReLU(name="last")(shared(shared(x))), seed=0)
    shared.trainable = False
    axes = model.plot()
    texts = [text.get_text() for text in axes.texts]
    assert texts[::2] == ["Input", "Dense(2, 2)", "Dense(2, 2)", "ReLU()"]
    assert texts[1::2] == [
        "inside   (B, 2)",
        "0   (B, 2)   6 frozen parameters",
        "0_2   (B, 2)   shared",
        "last   (B, 2)",
    ]
    widths = [box.get_linewidth() for box in boxes_of(axes)]
    assert widths[3] > widths[0] == widths[1] == widths[2]  # the output
    colors = [box.get_facecolor() for box in boxes_of(axes)]
    assert colors[1] == colors[2]
    assert len({colors[0], colors[1], colors[3]}) == 3


def test_branches_do_not_cross_where_they_need_not() -> None:
    a, b, c = (nc.Input(2, name=name) for name in "abc")
    ends = [nc.Dense(2, 1)(nc.Tanh()(value)) for value in (c, b, a)]
    model = nc.Model([a, b, c], ends, seed=0)
    arrows = arrows_of(model.plot())
    ways = [(way_of(arrow)[0], way_of(arrow)[-1]) for arrow in arrows]
    pairs = [
        pair for pair in combinations(ways, 2) if pair[0][0][1] == pair[1][0][1]
    ]  # between the same rows
    assert len(pairs) == 6
    for (start, end), (other_start, other_end) in pairs:
        assert (start[0] < other_start[0]) == (end[0] < other_end[0])


def test_a_graph_is_made_to_fit_small_axes() -> None:
    small, (figure, axes) = nc.mlp([2, 2], seed=0), plt.subplots(figsize=(3, 2))
    assert small.plot(ax=axes) is axes
    check_graph(small, axes)
    model, (figure, axes) = residual(3), plt.subplots(figsize=(4, 3))
    boxes = boxes_of(model.plot(ax=axes))
    assert len(boxes) == len(model.values)
    figure.canvas.draw()
    for box, text in zip(boxes, axes.texts[::2], strict=True):
        outer, inner = box.get_window_extent(), text.get_window_extent()
        assert outer.x0 <= inner.x0
        assert inner.x1 <= outer.x1
        assert outer.height >= inner.height


def test_the_graph_refuses_what_are_no_axes() -> None:
    with pytest.raises(TypeError, match="ax must be matplotlib axes; got list"):
        residual(1).plot(ax=[])


# Axes, notebooks and missing packages -------------------------------------------------------------------


def test_given_axes_are_used_and_no_figure_is_made() -> None:
    figure = Figure()
    axes = figure.subplots(2, 3)
    model = with_dead_units()
    assert history_of(CURVES).plot(ax=axes[0, :2]) == list(axes[0, :2])
    assert plotting.confusion_matrix([0], [0], ax=axes[0, 2]) is axes[0, 2]
    assert plotting.decision_boundary(two_classes(), PLANE, ax=axes[1, 0]) is axes[1, 0]
    assert plotting.weight_histograms(model, "0.weight", ax=axes[1, 1]) == [axes[1, 1]]
    assert plotting.activation_histograms(model, PLANE, "1", ax=[axes[1, 2]]) == [axes[1, 2]]
    assert all(len(one.get_children()) > 10 for one in axes.flat)
    assert plt.get_fignums() == []


@pytest.mark.parametrize("ax", [[], 1, ["here", "there"], "ab"])
def test_panels_need_axes(ax: object) -> None:
    with pytest.raises(
        (TypeError, ValueError), match=r"ax must be (2 axes, for loss, accuracy|matplotlib axes); got"
    ):
        history_of(CURVES).plot(ax=ax)
    assert plt.get_fignums() == []


def test_another_number_of_axes_is_told() -> None:
    axes = Figure().subplots()
    with pytest.raises(ValueError, match="ax must be 2 axes, for loss, accuracy; got 1"):
        history_of(CURVES).plot(ax=axes)


class Cells(HTMLParser):
    """The texts of a table, and the tags that are open."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.open: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] in ("td", "th"):
            self.rows[-1][-1] += data


def test_notebooks_show_the_summary_of_a_model_as_a_table() -> None:
    x = nc.Input(2, name="x")
    model = nc.Model(x, nc.Dense(2, 3, name="out")(x) + nc.Dense(2, 3)(x), seed=0)
    html = model._repr_html_()
    table = Cells(html)
    assert table.open == []
    assert table.rows[0] == ["name", "layer", "reads", "output", "parameters"]
    title, _, _, *lines = repr(model).splitlines()
    assert title in html
    assert [re.split(r"  +", line.strip()) for line in lines] == [
        [cell for cell in row if cell] for row in table.rows[1:]
    ]


@pytest.mark.parametrize("epochs", [0, 1, 20, 21, 300])
def test_notebooks_show_the_epochs_of_a_history(epochs: int) -> None:
    history = nc.History(0)
    for epoch in range(epochs):
        history.append({"loss": 1 / (epoch + 1), "val_loss": np.nan})
    table = Cells(history._repr_html_())
    assert table.open == []
    assert table.rows[0] == (["epoch", "loss", "val_loss"] if epochs else ["epoch"])
    rows = table.rows[1:]
    assert len(rows) == (epochs if epochs <= 20 else 21)
    if epochs > 20:
        assert rows[10] == ["..."] * 3
        assert [row[0] for row in rows[-10:]] == [str(epoch) for epoch in range(epochs - 9, epochs + 1)]
    if epochs:
        assert rows[0] == ["1", "1", "nan"]
        assert rows[-1][1] == f"{1 / epochs:.6g}"


def test_names_of_columns_are_escaped() -> None:
    html = history_of({"<lambda>": [0.5], "a&b": [1.0]})._repr_html_()
    assert Cells(html).rows[0] == ["epoch", "<lambda>", "a&b"]
    assert "<lambda>" not in html


CALLS = {
    "matplotlib": [
        "nc.plotting.learning_curves({'loss': [1.0]})",
        "nc.plotting.decision_boundary(model, [[0, 1]])",
        "nc.plotting.weight_histograms(model)",
        "nc.plotting.activation_histograms(model, [[0, 1]])",
        "model.plot()",
    ],
    "sklearn": ["nc.plotting.confusion_matrix([0], [0])"],
}


@pytest.mark.parametrize("package", CALLS)
def test_a_missing_package_is_named_with_the_remedy(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == package]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)
    model = nc.mlp([2, 2, 1], activation="relu", seed=0)
    name = {"sklearn": "scikit-learn"}.get(package, package)
    for call in CALLS[package]:
        with pytest.raises(ImportError, match=re.escape(f"{name}: pip install 'nncore-cpu[plot]'")):
            eval(call, {"nc": nc, "model": model})
    assert list(plotting.dead_units(model, [[0, 1]])) == ["1"]  # draws nothing


def test_pictures_are_imported_when_they_are_used() -> None:
    code = (
        "import json, sys, nncore\n"
        "before = sorted(sys.modules)\n"
        "assert nncore.plotting.__name__ == 'nncore.plotting'\n"
        "print(json.dumps([before, sorted(sys.modules)]))\n"
    )
    out = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    before, after = map(set, json.loads(out))
    assert not any(name.startswith("nncore.plotting") for name in before)
    assert "nncore.plotting.curves" in after
    assert not any(name.partition(".")[0] in ("matplotlib", "sklearn") for name in after)


def test_other_names_are_attribute_errors() -> None:
    with pytest.raises(AttributeError, match="module 'nncore' has no attribute 'plot'"):
        _ = nc.plot
