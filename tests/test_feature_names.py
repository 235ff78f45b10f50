"""Column names: the first fit stores them; later tables are reordered to match or rejected."""

import copy
import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

import nncore as nc
from nncore import _safetensors

NAMES = ("age", "dose", "weight")
VALUES = np.random.default_rng(0).normal(size=(6, 3))
TABLE = pd.DataFrame(VALUES, columns=list(NAMES))
TURNED = TABLE[["weight", "age", "dose"]]
OTHER = TABLE.rename(columns={"dose": "height"})
Y = VALUES[:, :2].copy()


def new_trainer(loss: Any = "mean_squared_error", **options: Any) -> nc.Trainer:
    return nc.Trainer(nc.mlp([3, 4, 2], "tanh", seed=0), loss, "sgd", **options)


def fitted() -> nc.Trainer:
    trainer = new_trainer()
    trainer.fit(TABLE, Y, progress=False)
    assert trainer.model.feature_names == {"input": NAMES}
    return trainer


class Polars:
    """A table like polars's: no `ndim`, and `columns` are names."""

    def __init__(self, frame: pd.DataFrame) -> None:
        self.columns, self.dtypes, self.array = (
            [str(name) for name in frame],
            [*frame.dtypes],
            frame.to_numpy(),
        )

    def to_numpy(self) -> NDArray:
        return self.array

    def __array__(self, dtype: Any = None, copy: Any = None) -> NDArray:
        return self.array


class Arrow:
    """A table like pyarrow's: `columns` are data."""

    def __init__(self, frame: pd.DataFrame) -> None:
        self.column_names, self.array = [str(name) for name in frame], frame.to_numpy()
        self.columns = [*self.array.T]

    def __array__(self, dtype: Any = None, copy: Any = None) -> NDArray:
        return self.array


TABLES: dict[str, Callable[[pd.DataFrame], Any]] = {
    "pandas": lambda frame: frame,
    "pandas of several dtypes": lambda frame: frame.astype({"age": "float32"}),
    "polars": Polars,
    "arrow": Arrow,
    "by name": lambda frame: {"input": frame},
}


# Stored names ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("train", ["fit", "step"])
def test_training_remembers(train: str, table: str) -> None:
    trainer = new_trainer()
    assert trainer.model.feature_names == {}
    make = TABLES[table]
    if train == "fit":
        trainer.fit(make(TURNED), Y, progress=False)
    else:
        trainer.step(make(TURNED), Y)
    assert trainer.model.feature_names == {"input": tuple(TURNED.columns)}
    predicted = trainer.model.predict(make(TABLE))
    assert np.array_equal(predicted, trainer.model.predict(make(TURNED)))
    trainer.fit(make(TABLE), Y, progress=False)  # keeps the first names
    trainer.step(make(TABLE), Y)
    assert trainer.model.feature_names == {"input": tuple(TURNED.columns)}


@pytest.mark.parametrize(
    ("labels", "remembered"),
    [
        (["a", "b", 3], ("a", "b", 3)),
        ([1, 2, 3], (1, 2, 3)),
        (np.array([7, 2, 5], np.int16), (7, 2, 5)),
        (pd.Index([np.int64(7), "a", np.str_("b")], dtype=object), (7, "a", "b")),
        ([("a", 1), ("a", 2), ("b", 1)], ("('a', 1)", "('a', 2)", "('b', 1)")),
        (pd.MultiIndex.from_product([["a"], [1, 2, 3]]), ("('a', 1)", "('a', 2)", "('a', 3)")),
        ([0.5, 1.5, 2.0], ("0.5", "1.5", "2.0")),
        ([None, True, "x"], ("None", "True", "x")),
        (pd.date_range("2020-01-01", periods=3), tuple(f"2020-01-0{day} 00:00:00" for day in (1, 2, 3))),
        (["0", "1", "2"], ("0", "1", "2")),
    ],
)
def test_labels_of_every_kind(tmp_path: Path, labels: Any, remembered: tuple[Any, ...]) -> None:
    trainer = new_trainer()
    frame = pd.DataFrame(VALUES, columns=labels)
    trainer.fit(frame, Y, progress=False)
    trainer.model.save(tmp_path / "m.safetensors")
    for model in (trainer.model, nc.load(tmp_path / "m.safetensors")):
        assert model.feature_names == {"input": remembered}
        assert all(type(label) in (str, int) for label in model.feature_names["input"])
        assert np.array_equal(model.predict(frame.iloc[:, ::-1]), model.predict(VALUES))
        with pytest.raises(ValueError, match="x must have the columns"):
            model.predict(OTHER)


@pytest.mark.parametrize(
    "x",
    [
        VALUES,
        VALUES.tolist(),
        pd.DataFrame(VALUES),
        pd.DataFrame(VALUES)[[2, 0, 1]],
        pd.DataFrame(VALUES, columns=[1, 2, 0]),
    ],
    ids=["array", "list", "pandas' default", "the default in another order", "numbers of columns"],
)
def test_tables_without_names_leave_none(x: Any) -> None:
    trainer = new_trainer()
    trainer.fit(x, Y, progress=False)
    trainer.step(x, Y)
    assert trainer.model.feature_names == {}


def test_names_come_after_a_fit_without() -> None:
    trainer = new_trainer()
    trainer.fit(VALUES, Y, progress=False)
    assert np.array_equal(trainer.model.predict(OTHER), trainer.model.predict(VALUES))
    trainer.fit(TABLE, Y, progress=False)
    assert trainer.model.feature_names == {"input": NAMES}
    trainer.fit(VALUES, Y, progress=False)
    assert trainer.model.feature_names == {"input": NAMES}


def test_only_training_remembers() -> None:
    trainer = new_trainer()
    model = trainer.model
    model.predict(TABLE)
    model.forward(TABLE)
    model.loss_and_gradients(TABLE, Y, "mean_squared_error")
    trainer.evaluate(TABLE, Y)
    trainer.fit(VALUES, Y, validation_data=(TABLE, Y), progress=False)
    assert model.feature_names == {}


class Watch(nc.Callback):
    def __init__(self) -> None:
        self.seen: list[Any] = []

    def on_fit_begin(self, trainer: nc.Trainer, logs: Any) -> None:
        self.seen.append(trainer.model.feature_names)

    def on_epoch_end(self, trainer: nc.Trainer, logs: Any) -> None:
        self.seen.append(trainer.model.feature_names)


def test_callbacks_find_the_names_after_the_first_epoch() -> None:
    watch = Watch()
    new_trainer().fit(TABLE, Y, progress=False, callbacks=[watch])
    assert watch.seen == [{}, {"input": NAMES}]


NAN = np.full((6, 2), np.nan)
FAILING: dict[str, Callable[[nc.Trainer], object]] = {
    "y of another shape": lambda t: t.fit(TABLE, Y[:, :1], progress=False),
    "y of another length": lambda t: t.fit(TABLE, Y[:2], progress=False),
    "y of NaN": lambda t: t.fit(TABLE, NAN, progress=False),
    "y of NaN in a step": lambda t: t.step(TABLE, NAN),
    "a weight below 0": lambda t: t.fit(TABLE, Y, sample_weight=[-1] * 6, progress=False),
    "a batch of nothing": lambda t: t.fit(TABLE, Y, batch_size=0, progress=False),
    "validation x": lambda t: t.fit(TABLE, Y, validation_data=(OTHER, Y), progress=False),
    "a loss that is not finite": lambda t: t.fit(TABLE * 1e300, Y, progress=False),
    "such a loss in a step": lambda t: t.step(TABLE * 1e300, Y),
}


@pytest.mark.parametrize("case", FAILING)
def test_a_fit_that_trains_nothing_remembers_nothing(case: str) -> None:
    trainer = new_trainer()
    with pytest.raises((ValueError, FloatingPointError)):
        FAILING[case](trainer)
    assert trainer.model.feature_names == {}


@pytest.mark.parametrize("steps", [0, 1, 2])
def test_an_interrupted_fit_remembers_if_it_made_a_step(steps: int) -> None:
    losses = iter([1.0] * steps)

    def loss(output: NDArray, y: NDArray) -> tuple[float, NDArray]:
        for value in losses:
            return value, output
        raise KeyboardInterrupt

    trainer = new_trainer(loss)
    with pytest.raises(KeyboardInterrupt):
        trainer.fit(TABLE, Y, batch_size=2, progress=False)
    assert trainer.model.feature_names == ({"input": NAMES} if steps else {})


# Later calls -------------------------------------------------------------------------------------------

CALLS: dict[str, Callable[[nc.Trainer, Any], Any]] = {
    "predict": lambda t, x: t.model.predict(x),
    "predict into out": lambda t, x: t.model.predict(x, out=np.zeros((6, 2), np.float32)),
    "forward": lambda t, x: t.model.forward(x),
    "forward and backward": lambda t, x: (t.model.forward(x), t.model.backward(Y))[1],
    "a loss": lambda t, x: t.model.loss_and_gradients(x, Y, "mean_squared_error"),
    "evaluate": lambda t, x: t.evaluate(x, Y)["loss"],
    "step": lambda t, x: t.step(x, Y),
    "fit": lambda t, x: t.fit(x, Y, batch_size=2, progress=False)["loss"],
    "validation": lambda t, x: t.fit(VALUES, Y, validation_data=(x, Y), progress=False)["val_loss"][-1],
    "own loss": lambda t, x: nc.Trainer(t.model, lambda output, y: (1.0, output)).step(x, Y),
}


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("call", CALLS)
def test_another_order_is_put_right(call: str, table: str) -> None:
    results = []
    for x in (VALUES, TABLE, TURNED, TABLE.iloc[:, ::-1]):
        trainer, given = fitted(), x if x is VALUES else TABLES[table](x)
        answer = CALLS[call](trainer, given)
        results.append((np.array(answer), trainer.model.parameters.copy(), trainer.model.gradients.copy()))
    reference = results[1 if table == "pandas of several dtypes" else 0]  # which rounds the first column
    for result in results[1:]:
        for ours, theirs in zip(result, reference, strict=True):
            assert np.array_equal(ours, theirs)


REFUSED: dict[str, tuple[pd.DataFrame, str, str]] = {
    "a renamed column": (OTHER, "'dose'", "'height'"),
    "a column less": (TABLE[["age", "weight"]], "'dose'", "none"),
    "a column more": (TABLE.assign(extra=1.0), "none", "'extra'"),
    "a column of strings more": (TABLE.assign(name="x"), "none", "'name'"),
    "other names": (TABLE.set_axis([1, 2, 3], axis=1), "'age', 'dose', 'weight'", "1, 2, 3"),
    "numbers in another order": (TABLE.set_axis([1, 2, 0], axis=1), "'age', 'dose', 'weight'", "1, 2, 0"),
    "capital letters": (
        TABLE.rename(columns=str.title),
        "'age', 'dose', 'weight'",
        "'Age', 'Dose', 'Weight'",
    ),
    "many": (
        pd.DataFrame(np.zeros((6, 8)), columns=list("abcdefgh")),
        "'age', 'dose', 'weight'",
        "'a', 'b', 'c', 'd', 'e' and 3 more",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
@pytest.mark.parametrize("call", CALLS)
def test_other_names_are_refused(call: str, case: str) -> None:
    table, missing, unexpected = REFUSED[case]
    trainer = fitted()
    before, steps = trainer.model.parameters.copy(), trainer.optimizer.state(trainer.model.store).steps
    with pytest.raises(ValueError, match="must have the columns that the model was trained on") as raised:
        CALLS[call](trainer, table)
    assert str(raised.value).startswith("validation x must" if call == "validation" else "x must")
    assert str(raised.value).endswith(f"got a table with {missing} missing, {unexpected} unexpected")
    assert np.array_equal(trainer.model.parameters, before)
    assert trainer.optimizer.state(trainer.model.store).steps == steps
    assert trainer.model.feature_names == {"input": NAMES}


def test_validation_data_of_the_first_fit() -> None:
    trainer = new_trainer()
    with pytest.raises(ValueError, match=r"^validation x must have the columns .* 'dose' missing, 'height'"):
        trainer.fit(TABLE, Y, validation_data=(OTHER, Y), progress=False)
    message = (
        r"^validation x must have its columns in the order of x, 'age', 'dose', 'weight'; got 'weight', "
    )
    with pytest.raises(ValueError, match=message):
        trainer.fit(TABLE, Y, validation_data=(TURNED, Y), progress=False)
    assert trainer.model.feature_names == {}
    trainer.fit(TABLE, Y, validation_data=(TABLE, Y), progress=False)
    expected = new_trainer()
    expected.fit(VALUES, Y, validation_data=(VALUES, Y), progress=False)
    assert trainer.history["val_loss"] == expected.history["val_loss"]


def test_validation_data_in_the_order_of_x() -> None:
    """Validation data follow the x of the same call, not the stored order."""
    results = []
    for x in (TABLE, TURNED):
        trainer = fitted()
        trainer.fit(x, Y, validation_data=(x, Y), progress=False)
        results.append(trainer.history["val_loss"][-1])
        other = TURNED if x is TABLE else TABLE
        with pytest.raises(ValueError, match="validation x must have its columns in the order of x"):
            trainer.fit(x, Y, validation_data=(other, Y), progress=False)
        for validation in (VALUES, pd.DataFrame(VALUES)):
            trainer.fit(x, Y, validation_data=(validation, Y), progress=False)
    assert results[0] == results[1]
    with pytest.raises(ValueError, match=r"validation x\['left'\] must have its columns in the order of x"):
        two_in().fit([TABLE, Y], Y, validation_data=([TURNED, Y], Y), progress=False)


@pytest.mark.parametrize("names", [{}, {"input": NAMES}])
def test_tables_without_names_go_by_position(names: dict[str, Any]) -> None:
    model = new_trainer().model
    model.feature_names = names
    expected = model.predict(VALUES)
    for x in (VALUES.tolist(), pd.DataFrame(VALUES), pd.DataFrame(VALUES, columns=range(3)), [*VALUES]):
        assert np.array_equal(model.predict(x), expected)
    assert np.array_equal(model.predict(VALUES[:, ::-1].tolist()), model.predict(VALUES[:, ::-1]))
    assert model.feature_names == names


@pytest.mark.parametrize("call", CALLS)
def test_numbers_of_columns_are_put_in_order(call: str) -> None:
    results = []
    for x in (VALUES, pd.DataFrame(VALUES)[[2, 0, 1]]):
        trainer = new_trainer()
        results.append((np.array(CALLS[call](trainer, x)), trainer.model.parameters.copy()))
        assert trainer.model.feature_names == {}
    for ours, theirs in zip(*results, strict=True):
        assert np.array_equal(ours, theirs)


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("start", [new_trainer, fitted])
def test_names_must_be_distinct(start: Callable[[], nc.Trainer], call: str) -> None:
    for labels, several in (
        (["age", "dose", "age"], "'age'"),
        ([0, 1, 1], "1"),
        (["age", ("1",), "('1',)"], '"'),
    ):
        trainer = start()
        before = trainer.model.parameters.copy()
        message = rf"x's column names must be distinct; got {several}"
        with pytest.raises(ValueError, match=message):
            CALLS[call](trainer, TABLE.set_axis(labels, axis=1))
        with pytest.raises(ValueError, match="must be distinct"):
            CALLS[call](trainer, Arrow(TABLE.set_axis(list("aba"), axis=1)))
        assert np.array_equal(trainer.model.parameters, before)


def test_a_row_of_a_table() -> None:
    model = fitted().model
    expected = model.predict(VALUES[:1])
    for frame in (TABLE, TURNED):
        assert np.array_equal(model.predict(frame.iloc[0]), expected)
    assert np.array_equal(model.predict(pd.Series(VALUES[0])), expected)
    with pytest.raises(ValueError, match="'dose' missing, 'height' unexpected"):
        model.predict(OTHER.iloc[0])


def test_one_number_is_a_row_or_a_column() -> None:
    model = nc.mlp([1, 1], seed=0)
    model.feature_names = {"input": ["age"]}
    assert np.array_equal(model.predict(TABLE["age"].iloc[4:5]), model.predict(VALUES[4:5, :1]))


def test_tables_are_left_alone() -> None:
    trainer, table = fitted(), TURNED.copy()
    for call in CALLS.values():
        call(trainer, table)
    assert table.equals(TURNED)
    assert list(table.columns) == list(TURNED.columns)


# Several inputs ----------------------------------------------------------------------------------------


def two_in() -> nc.Trainer:
    left, right = nc.Input(3, name="left"), nc.Input(2, name="right")
    return nc.Trainer(
        nc.Model([left, right], nc.Dense(5, 2)(nc.Concatenate()(left, right)), seed=0), "mean_squared_error"
    )


@pytest.mark.parametrize("as_dict", [False, True])
def test_several_inputs(as_dict: bool) -> None:
    def form(left: Any, right: Any) -> Any:
        return {"right": right, "left": left} if as_dict else [left, right]

    trainer, right = two_in(), pd.DataFrame(Y, columns=["age", "size"])
    trainer.fit(form(TABLE, Y), Y, progress=False)
    assert trainer.model.feature_names == {"left": NAMES}
    trainer.step(form(VALUES, right), Y)
    model = trainer.model
    assert model.feature_names == {"left": NAMES, "right": ("age", "size")}
    expected = model.predict([VALUES, Y])
    for given in (form(TURNED, right), form(TABLE, right[["size", "age"]]), form(TURNED, Y)):
        assert np.array_equal(model.predict(given), expected)
    for given, name in ((form(OTHER, right), "left"), (form(TABLE, TABLE[["age", "dose"]]), "right")):
        place = ["left", "right"].index(name)
        named = rf"^x\['{name}'\] must" if as_dict else rf"^x\[{place}\] must"
        with pytest.raises(ValueError, match=named):
            model.predict(given)


# Copies and files --------------------------------------------------------------------------------------


def through_a_file(model: nc.Model, path: Path) -> nc.Model:
    model.save(path)
    return nc.load(path)


COPIES: dict[str, Callable[[nc.Trainer, Path], nc.Model]] = {
    "copy": lambda t, path: t.model.copy(),
    "copy of another dtype": lambda t, path: t.model.copy(dtype=np.float64),
    "deepcopy": lambda t, path: copy.deepcopy(t.model),
    "pickle": lambda t, path: pickle.loads(pickle.dumps(t.model)),
    "file": lambda t, path: through_a_file(t.model, path),
    "file of a copy": lambda t, path: through_a_file(t.model.copy(), path),
    "checkpoint": lambda t, path: (t.save(path), nc.load(path))[1],
}


@pytest.mark.parametrize("way", COPIES)
def test_copies_know_the_names(tmp_path: Path, way: str) -> None:
    trainer = fitted()
    model = COPIES[way](trainer, tmp_path / "m.safetensors")
    assert model.feature_names == {"input": NAMES}
    assert np.array_equal(model.predict(TURNED), model.predict(VALUES))
    model.feature_names = {}
    assert trainer.model.feature_names == {"input": NAMES}
    assert COPIES[way](new_trainer(), tmp_path / "m.safetensors").feature_names == {}


def test_names_of_several_inputs_in_files(tmp_path: Path) -> None:
    trainer = two_in()
    trainer.step([TABLE, pd.DataFrame(Y, columns=[7, "size"])], Y)
    loaded = through_a_file(trainer.model, tmp_path / "m.safetensors")
    assert loaded.feature_names == {"left": NAMES, "right": (7, "size")}


def test_restore_takes_the_names_of_the_file(tmp_path: Path) -> None:
    with_names, without = tmp_path / "with.safetensors", tmp_path / "without.safetensors"
    fitted().save(with_names)
    new_trainer().save(without)
    trainer = new_trainer()
    trainer.fit(OTHER, Y, progress=False)
    trainer.restore(with_names)
    assert trainer.model.feature_names == {"input": NAMES}
    trainer.restore(without)
    assert trainer.model.feature_names == {}


def test_a_checkpoint_of_the_first_epoch(tmp_path: Path) -> None:
    path = tmp_path / "best.safetensors"
    new_trainer().fit(TABLE, Y, progress=False, callbacks=[nc.Checkpoint(path, monitor="loss")])
    assert nc.load(path).feature_names == {"input": NAMES}


def rewrite(path: Path, **changes: Any) -> None:
    """Rewrites the file with some fields changed (None: removed) and a new checksum."""
    with safe_open(path, framework="numpy") as file:
        fields = json.loads(file.metadata()["nncore"])
    fields = {name: value for name, value in {**fields, **changes}.items() if value is not None}
    tensors = load_file(path)
    fields["sha256"] = _safetensors._digest(fields, tensors)
    save_file(tensors, path, metadata={"nncore": json.dumps(fields)})


def test_files_without_the_field(tmp_path: Path) -> None:
    path, trainer = tmp_path / "m.safetensors", fitted()
    trainer.save(path)
    rewrite(path, feature_names=None)
    assert nc.load(path).feature_names == {}
    trainer.restore(path)
    assert trainer.model.feature_names == {}


WRONG: dict[str, tuple[Any, type[Exception], str]] = {
    "no dict": ([["age", "dose", "weight"]], TypeError, "must be a dict by input name; got list"),
    "no list": ({"input": 3}, TypeError, r"feature_names\['input'\] must be a list of names; got 3"),
    "a string": ({"input": "abc"}, TypeError, r"feature_names\['input'\] must be a list of names; got 'abc'"),
    "too few": ({"input": ["age"]}, ValueError, r"\['input'\] must be 3 distinct names; got 'age'"),
    "none": ({"input": []}, ValueError, "must be 3 distinct names; got none"),
    "twice": ({"input": ["a", "b", "a"]}, ValueError, "must be 3 distinct names; got 'a', 'b', 'a'"),
    "another input": (
        {"inputs": [*NAMES]},
        ValueError,
        "keys of feature_names must be one of input; got 'inputs'",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_names_that_cannot_be(tmp_path: Path, case: str) -> None:
    given, error, message = WRONG[case]
    path, trainer = tmp_path / "m.safetensors", fitted()
    with pytest.raises(error, match=message):
        trainer.model.feature_names = given
    trainer.save(path)
    rewrite(path, feature_names=given)
    before = trainer.model.parameters.copy()
    trainer.step(TABLE, Y)
    after = trainer.model.parameters.copy()
    for call in (nc.load, trainer.restore):
        with pytest.raises(ValueError, match=rf"m\.safetensors.*{message}"):
            call(path)
    assert np.array_equal(trainer.model.parameters, after)
    assert not np.array_equal(before, after)
    assert trainer.model.feature_names == {"input": NAMES}


def test_names_set_by_hand() -> None:
    trainer = new_trainer()
    trainer.fit(VALUES, Y, progress=False)
    model = trainer.model
    for names in ([*NAMES], NAMES, TABLE.columns):
        model.feature_names = {"input": names}
        assert model.feature_names == {"input": NAMES}
        assert np.array_equal(model.predict(TURNED), model.predict(VALUES))
    model.feature_names.clear()  # changes a copy
    assert model.feature_names == {"input": NAMES}
    model.feature_names = {}
    trainer.fit(OTHER, Y, progress=False)
    assert model.feature_names == {"input": tuple(OTHER.columns)}
