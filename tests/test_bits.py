"""Results have the same bits on every instruction set, for any number of threads, and in any batch.

The hashes are fixed. A deliberate change of bits updates them here and is listed in the changelog.
"""

import hashlib
import re

import numpy as np
import pytest

import nncore as nc
from builds import REPOSITORY
from nncore import _core

SETS = _core.show_config()["instruction_sets_supported"]
STEPS = 50


def numbers(shape, dtype, stream):
    """Uniform numbers in [-1, 1), independent of libraries and processors."""
    out = np.empty(shape, dtype)
    _core.fill_uniform(out.reshape(-1), -1.0, 1.0, seed=7, index=stream)
    return out


def tanh_net(dtype):
    model = nc.mlp([8, 64, 64, 1], activation="tanh", dtype=dtype, seed=1)
    return model, "mean_squared_error", numbers((64, 8), dtype, 0), numbers((64, 1), dtype, 1)


def classifier(dtype):
    model = nc.mlp([784, 128, 10], activation="relu", output="softmax", dtype=dtype, seed=2)
    labels = np.arange(64) * 7 % 10
    return model, "cross_entropy", numbers((64, 784), dtype, 2), labels


def shared_layers(dtype):
    x = nc.Input(33)
    layer, head = nc.Dense(33, 33), nc.Dense(66, 3)
    first = nc.Tanh()(layer(x))
    second = nc.Sigmoid()(layer(first))
    model = nc.Model(x, head(nc.Concatenate()(first * second, second + x)), dtype=dtype, seed=3)
    return model, "half_squared_error", numbers((600, 33), dtype, 4), numbers((600, 3), dtype, 5)


def robust_losses(dtype):
    """Trains three outputs: huber with one delta per column, mean_absolute_error and gaussian_nll."""
    x = nc.Input(21)
    hidden = nc.Tanh()(nc.Dense(21, 40)(x))
    model = nc.Model(x, [nc.Dense(40, width)(hidden) for width in (3, 19, 6)], dtype=dtype, seed=4)
    losses = [nc.Huber(delta=[0.2, 0.7, 1.5]), nc.MeanAbsoluteError(), nc.GaussianNLL()]
    y = [numbers((64, width), dtype, 7 + i) for i, width in enumerate((3, 19, 3))]
    return model, losses, numbers((64, 21), dtype, 6), y


def activations_with_parameters(dtype):
    """Trains leaky_relu, both forms of gelu, and silu, each fused with a product and alone."""
    x = nc.Input(21)
    layers = [nc.LeakyReLU(0.2), nc.GELU(), nc.GELU(approximate="tanh"), nc.SiLU()]
    hidden = [layer(nc.Dense(21, 37)(x)) for layer in layers]
    value = nc.SiLU()(hidden[0] + hidden[1]) + nc.GELU()(hidden[2] + hidden[3])
    for layer in layers:
        value = layer(nc.Dense(37, 37)(value))
    model = nc.Model(x, nc.Dense(37, 3)(value), dtype=dtype, seed=5)
    return model, "half_squared_error", numbers((600, 21), dtype, 10), numbers((600, 3), dtype, 11)


HASHES = {
    ("tanh_net", "float32"): "bdbcffe582dc5610",
    ("tanh_net", "float64"): "dc9a6c0945a0f57a",
    ("classifier", "float32"): "4420f1e2c4c34546",
    ("classifier", "float64"): "fc86d70525efdb12",
    ("shared_layers", "float32"): "da9501d3ae517b63",
    ("shared_layers", "float64"): "7a192f98dde6e2b2",
    ("robust_losses", "float32"): "531c2bee3f9e3116",
    ("robust_losses", "float64"): "ff8d9fdb10265769",
    ("activations_with_parameters", "float32"): "f16ac10f83d19097",
    ("activations_with_parameters", "float64"): "0f1ec2afb7f45002",
}
NETS = {
    make.__name__: make
    for make in (tanh_net, classifier, shared_layers, robust_losses, activations_with_parameters)
}


def train(make, dtype):
    """The hash of all parameters after 50 Adam steps."""
    model, loss, x, y = make(dtype)
    trainer = nc.Trainer(model, loss, nc.Adam(1e-3))
    for _ in range(STEPS):
        trainer.step(x, y)
    return hashlib.sha256(model.parameters.tobytes()).hexdigest()[:16]


@pytest.fixture
def restored_runtime():
    before = _core.show_config()
    yield
    _core.use_instruction_set(before["instruction_set"])
    _core.set_num_threads(before["num_threads"])


@pytest.mark.parametrize(("name", "dtype"), HASHES)
@pytest.mark.parametrize("instruction_set", SETS)
@pytest.mark.usefixtures("restored_runtime")
def test_training_ends_in_the_same_bits(instruction_set, name, dtype):
    _core.use_instruction_set(instruction_set)
    for threads in (1, 2, 3):
        _core.set_num_threads(threads)
        assert train(NETS[name], dtype) == HASHES[name, dtype], f"{threads} threads"


def test_the_cpp_tests_expect_the_same_hashes():
    source = (REPOSITORY / "tests" / "cpp" / "test_bits.cpp").read_text(encoding="utf-8")
    rows = re.findall(r'\{"(\w+)", \1, "(\w{16})", "(\w{16})"\}', source)
    assert {(name, "float32"): one for name, one, _ in rows} | {
        (name, "float64"): other for name, _, other in rows
    } == HASHES


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", NETS)
@pytest.mark.usefixtures("restored_runtime")
def test_a_row_of_a_batch_equals_the_row_alone(name, dtype):
    model, _, x, _ = NETS[name](dtype)

    def predict(rows):
        outputs = model.predict(rows)
        return np.hstack(outputs) if isinstance(outputs, list) else outputs

    predictions = []
    for instruction_set in SETS:
        _core.use_instruction_set(instruction_set)
        together = predict(x[:64])
        alone = np.concatenate([predict(x[k : k + 1]) for k in range(64)])
        np.testing.assert_array_equal(together, alone)
        np.testing.assert_array_equal(predict(x[:64][::-1])[::-1], together)
        predictions.append(together)
    for other in predictions[1:]:
        np.testing.assert_array_equal(other, predictions[0])


@pytest.mark.parametrize("instruction_set", SETS)
@pytest.mark.usefixtures("restored_runtime")
def test_relu_of_nan_is_nan(instruction_set):
    _core.use_instruction_set(instruction_set)
    for dtype in (np.float32, np.float64):
        for size in (1, 4, 16, 33):
            z = np.full((1, size), np.nan, dtype)
            assert np.isnan(nc.functional.relu(z)).all()


def test_subnormals_survive_the_import():
    tiny = np.float32(1e-40)
    assert tiny / np.float32(2) > 0
    assert nc.functional.identity(np.full((1, 5), tiny, np.float32)).min() == tiny
