"""nncore.functional rejects arrays that do not fit, names them, and writes nothing."""

import re
import sys
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from numpy.typing import DTypeLike, NDArray

from nncore import _core
from nncore import functional as F

BATCH, INPUTS, OUTPUTS = 4, 5, 6
DTYPES = [np.float32, np.float64]
#: The argument from which the derivative of each activation is computed.
ACTIVATIONS = {
    entry["name"]: "z" if entry["derivative_reads"] == "input" else "output"
    for entry in _core.entries["activations"]
}
LOSSES = [entry["name"] for entry in _core.entries["losses"]]
TAKE_LABELS = [entry["name"] for entry in _core.entries["losses"] if entry["takes_labels"]]

Shapes = dict[str, tuple[int, ...]]

ROWS = (BATCH, OUTPUTS)
DENSE = {"x": (BATCH, INPUTS), "weight": (OUTPUTS, INPUTS)}


def loss_shapes(name: str) -> Shapes:
    target = (BATCH, _core.Loss(name).target_features(OUTPUTS))
    return {"prediction": ROWS, "target": target, "sample_weight": (BATCH,)}


#: Every function and the shapes of its array arguments. "out[i]" is a member of a tuple.
SIGNATURES: dict[str, Shapes] = {
    "exp": {"x": ROWS, "out": ROWS},
    "log": {"x": ROWS, "out": ROWS},
    "dense_forward": {**DENSE, "bias": (OUTPUTS,), "out": ROWS},
    "dense_backward": {
        "grad_output": ROWS,
        **DENSE,
        "out[0]": (BATCH, INPUTS),
        "out[1]": (OUTPUTS, INPUTS),
        "out[2]": (OUTPUTS,),
    },
    **{name: {"z": ROWS, "out": ROWS} for name in ACTIVATIONS},
    **{
        f"{name}_backward": {"grad_output": ROWS, kept: ROWS, "out": ROWS}
        for name, kept in ACTIVATIONS.items()
    },
    **{name: loss_shapes(name) for name in LOSSES},
    **{f"{name}_and_gradient": {**loss_shapes(name), "out": ROWS} for name in LOSSES},
}


def is_out(argument: str) -> bool:
    return argument == "out" or argument.startswith("out[")


INPUTS_AND_OUTS = [
    (function, given, out)
    for function, shapes in SIGNATURES.items()
    for out in shapes
    for given in shapes
    if is_out(out) and not is_out(given)
]


def test_every_function_is_covered() -> None:
    names = {*ACTIVATIONS, *LOSSES}
    public = {name for name in dir(F) if not name.startswith("_") and callable(getattr(F, name))}
    assert public >= set(SIGNATURES)
    arrays_only = {name for name in public if name.endswith(("_backward", "_and_gradient")) or name in names}
    assert arrays_only <= set(SIGNATURES)


def arguments(function: str, dtype: DTypeLike = np.float64) -> dict[str, Any]:
    """Valid arrays in (0, 1), which suit probabilities, targets and weights."""
    rng = np.random.default_rng(0)
    return {name: rng.uniform(0.1, 0.9, shape).astype(dtype) for name, shape in SIGNATURES[function].items()}


def call(function: str, given: dict[str, Any], **options: Any) -> Any:
    kwargs = {name: array for name, array in given.items() if not name.startswith("out[")}
    outs = tuple(array for name, array in given.items() if name.startswith("out["))
    if outs:
        kwargs["out"] = outs
    return getattr(F, function)(**kwargs, **options)


def memory(given: Any) -> bytes:
    """All bytes of an array's memory, including those between and around its elements."""
    if not isinstance(given, np.ndarray):
        return repr(given).encode()
    while isinstance(given.base, np.ndarray):
        given = given.base
    return given.tobytes()


def assert_refused(
    function: str,
    argument: str,
    given: dict[str, Any],
    error: type[Exception] | tuple[type[Exception], ...],
    **options: Any,
) -> None:
    before = {name: memory(array) for name, array in given.items()}
    with pytest.raises(error) as raised:
        call(function, given, **options)
    message = str(raised.value)
    named = re.search(rf"(?<!\w){re.escape(argument)}(?!\w)", message)
    assert named, f"the message does not name {argument}: {message}"
    assert {name: memory(array) for name, array in given.items()} == before


def each_argument(function: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Valid arguments, once for each argument to be made invalid."""
    for argument in SIGNATURES[function]:
        yield argument, arguments(function)


def misaligned(array: NDArray) -> NDArray:
    raw = np.zeros(array.nbytes + 1, np.uint8)
    moved = np.frombuffer(raw.data, dtype=array.dtype, count=array.size, offset=1).reshape(array.shape)
    moved[...] = array
    assert not moved.flags.aligned
    return moved


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("function", SIGNATURES)
def test_what_all_others_start_from_is_accepted(function: str, dtype: DTypeLike) -> None:
    given = arguments(function, dtype)
    result = call(function, given)
    outs = [array for name, array in given.items() if is_out(name)]
    if outs:
        returned = result if isinstance(result, tuple) else (result,)
        assert all(any(array is one for one in returned) for array in outs)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("function", SIGNATURES)
def test_the_byte_order_of_this_machine_spelled_out(function: str, dtype: DTypeLike) -> None:
    expected = call(function, arguments(function, dtype))
    own = np.dtype(dtype).newbyteorder("<" if sys.byteorder == "little" else ">")
    assert own.byteorder != "="
    for argument, given in each_argument(function):
        given = {name: array.astype(dtype) for name, array in given.items()}
        given[argument] = given[argument].astype(own)
        np.testing.assert_equal(call(function, given), expected)


WRONG_DTYPES = [np.float16, np.longdouble, np.int64, np.bool_, np.complex128, object, "S8"]


@pytest.mark.parametrize("function", SIGNATURES)
def test_wrong_dtype(function: str) -> None:
    for argument, given in each_argument(function):
        array = given[argument]
        for wrong in (*WRONG_DTYPES, array.dtype.newbyteorder()):
            given[argument] = array.astype(wrong)
            assert_refused(function, argument, given, TypeError)


@pytest.mark.parametrize("function", SIGNATURES)
def test_masked_arrays(function: str) -> None:
    expected = call(function, arguments(function))
    for argument, given in each_argument(function):
        given[argument] = np.ma.masked_array(given[argument], mask=False)
        np.testing.assert_equal(call(function, given), expected)
        given[argument][-1] = np.ma.masked
        assert_refused(function, f"{argument} must have no masked entries; got", given, ValueError)


@pytest.mark.parametrize("function", SIGNATURES)
def test_mixed_precisions(function: str) -> None:
    """The first array sets the precision, so the message may name another array."""
    for argument, given in each_argument(function):
        if len(given) > 1:
            given[argument] = given[argument].astype(np.float32)
            assert_refused(function, "float32", given, TypeError)


@pytest.mark.parametrize("function", SIGNATURES)
def test_what_is_no_array(function: str) -> None:
    """Nothing is converted, not even lists."""
    for argument, given in each_argument(function):
        for wrong in (given[argument].tolist(), 0.5, "x"):
            given[argument] = wrong
            assert_refused(function, argument, given, TypeError)


@pytest.mark.parametrize("function", SIGNATURES)
def test_wrong_rank(function: str) -> None:
    for argument, given in each_argument(function):
        array = given[argument]
        for wrong in (np.stack([array, array]), array[None, :, None], np.array(0.5)):
            given[argument] = wrong.copy()
            assert_refused(function, argument, given, ValueError)


@pytest.mark.parametrize("function", SIGNATURES)
def test_a_vector_is_no_matrix(function: str) -> None:
    """Elementwise functions accept vectors only if all arrays are vectors."""
    for argument, given in each_argument(function):
        if given[argument].ndim == 2:
            given[argument] = given[argument].ravel()
            assert_refused(function, "shape", given, ValueError)


@pytest.mark.parametrize("function", SIGNATURES)
def test_wrong_shape(function: str) -> None:
    """The message may name either of two arrays that do not fit each other."""
    for argument, given in each_argument(function):
        shape = given[argument].shape
        for axis, extent in enumerate(shape):
            for wrong in (extent - 1, extent + 1, 0, 1):
                given[argument] = np.full((*shape[:axis], wrong, *shape[axis + 1 :]), 0.5)
                assert_refused(function, "shape", given, ValueError)


WRONG_LAYOUTS: dict[str, Callable[[NDArray], NDArray]] = {
    "no unit stride": lambda array: np.repeat(array, 2, axis=-1)[..., ::2],
    "columns reversed": lambda array: array[..., ::-1],
    "rows reversed": lambda array: array[::-1],
    "stride 0 in a row": lambda array: np.broadcast_to(array[..., :1], array.shape),
    "stride 0 of rows": lambda array: np.broadcast_to(array[:1], array.shape),
    "misaligned": misaligned,
}


@pytest.mark.parametrize("layout", WRONG_LAYOUTS)
@pytest.mark.parametrize("function", SIGNATURES)
def test_wrong_layout(function: str, layout: str) -> None:
    for argument, given in each_argument(function):
        given[argument] = WRONG_LAYOUTS[layout](given[argument])
        assert_refused(function, argument, given, ValueError)


@pytest.mark.parametrize("function", SIGNATURES)
def test_columns_in_order_are_for_dense_layers_only(function: str) -> None:
    for argument, given in each_argument(function):
        if given[argument].ndim == 2:
            given[argument] = np.asfortranarray(given[argument])
            if function in ("dense_forward", "dense_backward") and argument != "out":
                call(function, given)
            else:
                assert_refused(function, argument, given, ValueError)


@pytest.mark.parametrize("function", SIGNATURES)
def test_only_out_must_be_writable(function: str) -> None:
    for argument, given in each_argument(function):
        given[argument].flags.writeable = False
        if is_out(argument):
            assert_refused(function, argument, given, ValueError)
        else:
            call(function, given)


@pytest.mark.parametrize(("function", "given_name", "out_name"), INPUTS_AND_OUTS)
def test_out_overlaps_an_input(function: str, given_name: str, out_name: str) -> None:
    given = arguments(function)
    given_shape, out_shape = SIGNATURES[function][given_name], SIGNATURES[function][out_name]
    sizes = int(np.prod(given_shape)), int(np.prod(out_shape))
    shared = np.full(sum(sizes), 0.5)
    # The last element of the input is the first element of out.
    given[given_name] = shared[: sizes[0]].reshape(given_shape)
    given[out_name] = shared[sizes[0] - 1 : sizes[0] - 1 + sizes[1]].reshape(out_shape)
    assert_refused(function, out_name, given, ValueError)


@pytest.mark.parametrize("function", [name for name, shapes in SIGNATURES.items() if "out" in shapes])
def test_out_beside_an_input_in_one_array_is_no_overlap(function: str) -> None:
    """Columns of one array interleave in memory but do not overlap."""
    given = arguments(function)
    first = next(iter(SIGNATURES[function]))
    columns = given[first].shape[1]
    both = np.full((BATCH, columns + OUTPUTS), 0.5)
    both[:, :columns] = given[first]
    given[first], given["out"] = both[:, :columns], both[:, columns:]
    expected = call(function, {**given, first: given[first].copy(), "out": given["out"].copy()})
    result = call(function, given)
    expected, result = (r[1] if isinstance(r, tuple) else r for r in (expected, result))
    assert result is given["out"]
    np.testing.assert_array_equal(result, expected)


def test_outs_overlap_each_other() -> None:
    for one, other in (("out[0]", "out[1]"), ("out[1]", "out[2]"), ("out[0]", "out[2]")):
        given = arguments("dense_backward")
        shapes = SIGNATURES["dense_backward"]
        shared = np.full(200, 0.5)
        given[one] = shared[: np.prod(shapes[one])].reshape(shapes[one])
        given[other] = shared[2 : 2 + np.prod(shapes[other])].reshape(shapes[other])
        assert_refused("dense_backward", other, given, ValueError)


def test_backward_may_not_write_over_its_output() -> None:
    """out may be grad_output, but not f(z) or z, which are still read."""
    for name, kept in ACTIVATIONS.items():
        given = arguments(f"{name}_backward")
        given["out"] = given[kept]
        assert_refused(f"{name}_backward", "out", given, ValueError)


def test_number_of_outs() -> None:
    given = arguments("dense_backward")
    for wrong in ((), (given["out[0]"],), tuple(given.values())):
        with pytest.raises(ValueError, match="out"):
            F.dense_backward(given["grad_output"], given["x"], given["weight"], out=wrong)


@pytest.mark.parametrize(
    "function", [name for name in SIGNATURES if name.endswith(("_backward", "_and_gradient"))]
)
def test_accumulate_needs_an_out(function: str) -> None:
    given = {name: array for name, array in arguments(function).items() if not is_out(name)}
    assert_refused(function, "accumulate", given, ValueError, accumulate=True)


@pytest.mark.parametrize("function", [name for name in SIGNATURES if "target" in SIGNATURES[name]])
def test_nan_target(function: str) -> None:
    given = arguments(function)
    given["target"][2, 1] = np.nan
    assert_refused(function, "target", given, ValueError)


@pytest.mark.parametrize("wrong", [-1.0, np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("function", [name for name in SIGNATURES if "sample_weight" in SIGNATURES[name]])
def test_wrong_sample_weight(function: str, wrong: float) -> None:
    given = arguments(function)
    given["sample_weight"][2] = wrong
    assert_refused(function, "sample_weight", given, ValueError)


@pytest.mark.parametrize("function", [name for name in SIGNATURES if "sample_weight" in SIGNATURES[name]])
def test_sample_weight_of_zeros_has_no_mean(function: str) -> None:
    given = arguments(function)
    given["sample_weight"][...] = 0.0
    assert_refused(function, "sample_weight", given, ValueError)


@pytest.mark.parametrize(
    "labels",
    [
        np.array([0, 1, OUTPUTS, 2]),
        np.array([0, 1, -1, 2]),
        np.array([0, 1, -1, 2], np.int8),
        np.array([0, 1, 200, 2], np.uint8),
        np.array([0, 1, 2**63, 2], np.uint64),
        np.array([0, 1, 2**64 - 1, 2], np.uint64),
        np.array([0, 1, 2**31, 2]),
        np.array([0, 1, 2]),
        np.array([0, 1, 2, 3, 4]),
        np.array([[0, 1, 2, 3]]),
        np.array(3),
    ],
    ids=lambda labels: f"{labels.dtype}{labels.shape}{labels.max()}",
)
@pytest.mark.parametrize("name", TAKE_LABELS)
def test_wrong_labels(name: str, labels: NDArray) -> None:
    for function in (name, f"{name}_and_gradient"):
        given = arguments(function)
        given["target"] = labels
        assert_refused(function, "target", given, (ValueError, TypeError))


@pytest.mark.parametrize("name", TAKE_LABELS)
def test_labels_are_integers(name: str) -> None:
    for wrong, error in (
        (np.array([0.0, 1.0, np.nan, 2.0]), ValueError),
        (np.array([0.0, 1.0, 2.0, 2.0]), ValueError),
        (np.array([True, False, True, False]), TypeError),
        (np.array(["a", "b", "c", "d"]), TypeError),
        (np.array([0, 1, 2, 3]).astype(">i8"), TypeError),
    ):
        given = arguments(name)
        given["target"] = wrong
        assert_refused(name, "target", given, error)


@pytest.mark.parametrize("name", [name for name in LOSSES if name not in TAKE_LABELS])
def test_losses_that_take_no_labels(name: str) -> None:
    given = arguments(name)
    given["target"] = np.array([0, 1, 2, 3])
    assert_refused(name, "target", given, TypeError)


def test_unknown_names() -> None:
    given = arguments("dense_forward")
    with pytest.raises(ValueError, match="did you mean 'sigmoid'"):
        call("dense_forward", given, activation="sigmod")
    given = arguments("cross_entropy")
    with pytest.raises(ValueError, match="did you mean 'mean'"):
        call("cross_entropy", given, reduction="means")
    before = _core.show_config()["instruction_set"]
    with pytest.raises(ValueError, match="sse9"):
        _core.use_instruction_set("sse9")
    assert _core.show_config()["instruction_set"] == before
    threads = _core.num_threads()
    for wrong in (0, -1):
        with pytest.raises(ValueError, match="count must be at least 1"):
            _core.set_num_threads(wrong)
    assert _core.num_threads() == threads
