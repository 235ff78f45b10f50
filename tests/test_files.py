"""Files: round trips, rejected files, and the state after a failure."""

import errno
import json
import os
import pathlib
import re
import shutil
import socket
import stat
import subprocess
import sys

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

import nncore as nc
from nncore import _safetensors

DATA = pathlib.Path(__file__).parent / "data"
X = np.random.default_rng(0).standard_normal((5, 3))


def small(**options):
    options = {"activation": "tanh", "output": "softmax", "seed": 0, **options}
    return nc.mlp([3, 4, 2], **options)


def everything():
    """A model with every kind of layer."""
    a, b = nc.Input(3, name="a"), nc.Input(3)
    encoder = nc.Dense(3, 2, name="encoder", trainable=False)
    code = nc.Tanh()(encoder(a))
    decoded = encoder.transposed()(code)
    shared = nc.Dense(3, 3, bias=False)
    mixed = nc.ReLU()(shared(decoded) + b) * nc.Sigmoid()(shared(a))
    joined = nc.Concatenate()(mixed, nc.Identity()(code))
    return nc.Model(
        [a, b], [nc.Softmax(name="kind")(nc.Dense(5, 2)(joined)), nc.LogSoftmax()(joined)], seed=3
    )


def fields_of(path):
    with safe_open(path, framework="numpy") as file:
        return json.loads(file.metadata()["nncore"])


def rewrite(path, *, resign=True, tensors=None, **changes):
    """Rewrites the file with some fields changed (None: removed), with or without a new checksum."""
    fields = {**fields_of(path), **changes}
    fields = {name: value for name, value in fields.items() if value is not None}
    tensors = load_file(path) if tensors is None else tensors
    if resign and "sha256" in fields:
        fields["sha256"] = _safetensors._digest(fields, tensors)
    save_file(tensors, path, metadata={"nncore": json.dumps(fields)})


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.safetensors"


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_model_comes_back_to_the_bit(path, dtype):
    model = small(dtype=dtype)
    model.save(path)
    loaded = nc.load(path)
    assert isinstance(loaded, nc.Sequential)
    assert loaded.dtype == dtype
    assert loaded.seed == 0
    assert loaded.layer_names == model.layer_names
    assert np.array_equal(loaded.parameters, model.parameters)
    assert np.array_equal(loaded.predict(X), model.predict(X))


def test_every_kind_of_layer_comes_back(path):
    model = everything()
    model.save(path)
    loaded = nc.load(str(path))
    assert str(loaded) == str(model)
    assert loaded.input_names == ["a", "input"]
    assert loaded.output_names == ["kind", model.output_names[1]]
    assert not loaded["encoder"].trainable
    for ours, theirs in zip(model.predict([X, X]), loaded.predict([X, X]), strict=True):
        assert np.array_equal(ours, theirs)
    tied = next(layer for layer in loaded if isinstance(layer, nc.TransposedDense))
    assert tied.source is loaded["encoder"]


def test_arrays_are_named_and_shaped_as_in_torch(path):
    small().save(path)
    assert {name: array.shape for name, array in load_file(path).items()} == {
        "0.weight": (4, 3),
        "0.bias": (4,),
        "2.weight": (2, 4),
        "2.bias": (2,),
    }
    assert np.array_equal(load_file(path)["0.weight"], small()[0].weight)


def test_shared_parameters_are_stored_once(path):
    layer = nc.Dense(2, 2)
    model = nc.Sequential(layer, nc.Tanh(), layer, seed=0)
    model.save(path)
    assert set(load_file(path)) == {"0.weight", "0.bias"}
    loaded = nc.load(path)
    assert loaded[0] is loaded[2]
    assert np.array_equal(loaded.predict([1, 2]), model.predict([1, 2]))


def test_a_part_of_a_store_is_saved_alone(path):
    model = small()
    model[:2].save(path)
    assert set(load_file(path)) == {"0.weight", "0.bias"}
    assert np.array_equal(nc.load(path).predict(X), model[:2].predict(X))


def test_saving_twice_gives_equal_bytes(path, tmp_path):
    other = tmp_path / "other.safetensors"
    model = everything()
    model.save(path, metadata={"b": 1, "a": [1.5, "x"]})
    nc.load(path).save(other)
    assert path.read_bytes() == other.read_bytes()


def test_metadata_come_back_and_survive(path):
    model = small()
    model.save(path, metadata={"classes": ["cat", "dog"]})
    loaded = nc.load(path)
    assert loaded.metadata == {"classes": ["cat", "dog"]}
    loaded.save(path)
    assert nc.load(path).metadata == {"classes": ["cat", "dog"]}


def test_unknown_optional_fields_survive(path):
    small().save(path)
    rewrite(path, format_version="1.7", colour={"of": "the future"})
    nc.load(path).save(path)
    assert fields_of(path)["colour"] == {"of": "the future"}
    assert fields_of(path)["format_version"] == "1.0"


@pytest.mark.parametrize("name", sorted(file.name for file in DATA.glob("*.safetensors")))
def test_files_of_every_format_version_can_be_read(name):
    model = nc.load(DATA / name)
    assert model.metadata == {"made by": "nncore 0.1.0"}
    assert model.named_parameters()["0.weight"].tolist() == [[0.5, -1.0], [0.25, 2.0]]
    assert model.predict([1.0, 1.0]).tolist() == [[0.0, 2.5]]


# Rejected files -----------------------------------------------------------------------------------------


def test_a_missing_file(path):
    with pytest.raises(FileNotFoundError):
        nc.load(path)


def make_socket(path):
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(os.path.relpath(path))  # the path of a socket must be short


def make_link(make):
    """A function that makes a link to what `make` creates."""

    def linked(path):
        target = path.with_name(f"{path.name}.target")
        make(target)
        path.symlink_to(target.name)

    return linked


# Paths that are not regular files: how to make one, the error, and its name in the message.
IRREGULAR = {
    "folder": (pathlib.Path.mkdir, IsADirectoryError, "a folder"),
    "FIFO": (os.mkfifo, shutil.SpecialFileError, "a FIFO"),
    "socket": (make_socket, shutil.SpecialFileError, "a socket"),
    "link to a folder": (make_link(pathlib.Path.mkdir), IsADirectoryError, "a folder"),
    "link to a FIFO": (make_link(os.mkfifo), shutil.SpecialFileError, "a FIFO"),
    "link to a link to a FIFO": (make_link(make_link(os.mkfifo)), shutil.SpecialFileError, "a FIFO"),
    "link to a socket": (make_link(make_socket), shutil.SpecialFileError, "a socket"),
    "link to itself": (lambda path: path.symlink_to(path), OSError, None),
    "file as a folder": (lambda path: path.with_name("target").touch(), NotADirectoryError, None),
}


def irregular(path, name):
    """Makes one of them. Returns the path to use, the error and the pattern of its message."""
    make, error, kind = IRREGULAR[name]
    make(path)
    if name == "file as a folder":
        path = path.with_name("target") / "model.safetensors"
    named = re.escape(str(path))
    return path, error, named if kind is None else f"got {kind}: {named}$"


def listing(folder):
    """The names in a folder and the file type of each."""
    return {entry.name: stat.S_IFMT(entry.lstat().st_mode) for entry in folder.iterdir()}


@pytest.mark.parametrize("way", ["model", "trainer", "callback"])
@pytest.mark.parametrize("name", IRREGULAR)
def test_only_regular_files_are_replaced(path, name, way, monkeypatch):
    monkeypatch.chdir(path.parent)
    target, error, message = irregular(path, name)
    before = listing(path.parent)
    if "got" in message:
        message = "^path must be a regular file or a new name; " + message
    ways = {
        "model": lambda: small().save(target),
        "trainer": lambda: trainer().save(str(target)),
        "callback": lambda: nc.Checkpoint(target, monitor=None).on_epoch_end(trainer(), {}),
    }
    with pytest.raises(error, match=message):
        ways[way]()
    assert listing(path.parent) == before


@pytest.mark.parametrize("way", ["load", "restore"])
@pytest.mark.parametrize("name", IRREGULAR)
def test_only_regular_files_are_read(path, name, way, monkeypatch):
    monkeypatch.chdir(path.parent)
    target, error, message = irregular(path, name)
    if "got" in message:
        message = "^path must be a regular file; " + message
    with pytest.raises(error, match=message):
        nc.load(target) if way == "load" else trainer().restore(str(target))


def test_devices_are_named():
    """Only reads the device: when run as root, a save could replace it."""
    with pytest.raises(shutil.SpecialFileError, match=r"got a character device: /dev/null$"):
        nc.load("/dev/null")


def test_saving_through_a_link_makes_the_file_that_it_names(path, tmp_path):
    target = tmp_path / "elsewhere" / "new.safetensors"
    path.symlink_to(target)
    with pytest.raises(FileNotFoundError):
        small().save(path)  # the folder does not exist
    with pytest.raises(FileNotFoundError):
        nc.load(path)
    target.parent.mkdir()
    small().save(path)
    assert path.is_symlink()
    assert not target.is_symlink()
    assert np.array_equal(nc.load(target).parameters, small().parameters)


def test_every_truncation_is_noticed(path):
    small().save(path)
    whole = path.read_bytes()
    for length in range(0, len(whole), 7):
        path.write_bytes(whole[:length])
        with pytest.raises(ValueError, match=r"model\.safetensors"):
            nc.load(path)


def test_every_altered_byte_is_noticed(path):
    small().save(path)
    whole = path.read_bytes()
    for place in range(0, len(whole), 3):
        altered = bytearray(whole)
        altered[place] ^= 1
        path.write_bytes(altered)
        with pytest.raises(ValueError, match=r"model\.safetensors"):
            nc.load(path)


def test_a_file_of_something_else(path):
    save_file({"weight": np.zeros(3)}, path)
    with pytest.raises(ValueError, match=r"must be a file written by nncore; got .*, whose metadata lacks"):
        nc.load(path)
    save_file({"weight": np.zeros(3)}, path, metadata={"nncore": "[1]"})
    with pytest.raises(ValueError, match=r"a JSON object as metadata; got .*, with a list"):
        nc.load(path)
    save_file({"weight": np.zeros(3)}, path, metadata={"nncore": "{"})
    with pytest.raises(ValueError, match="must be a file with JSON metadata"):
        nc.load(path)
    path.write_bytes(b"not safetensors at all, but long enough to hold a header")
    with pytest.raises(ValueError, match="must be a complete safetensors file"):
        nc.load(path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"format_version": "2.0", "least_reader_version": "3.1.0"},
            r"needs nncore 3\.1\.0 or later; this is",
        ),
        ({"least_reader_version": "99.0.0"}, r"needs nncore 99\.0\.0 or later"),
        ({"format_version": None}, "must be a file that states its format version"),
        ({"format_version": "new"}, "must be a file that states its format version"),
        ({"sha256": None}, "checksum differs"),
        ({"graph": None}, "must be a file with the key 'graph'"),
        ({"dtype": "float16"}, "must be float32 or float64"),
        ({"dtype": "float64"}, "must be float64 .*, as in the graph; got float32"),
        ({"seed": -1}, "seed must be in"),
        ({"seed": "0"}, "seed must be an integer"),
        ({"metadata": None}, "must be a file with the key 'metadata'"),
    ],
)
def test_fields_that_cannot_be(path, changes, message):
    small().save(path)
    rewrite(path, **changes)
    with pytest.raises(ValueError, match=message) as caught:
        nc.load(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda g: g["layers"]["1"].update(kind="no_such_layer"),
            "kind of layer '1' must be one of .*; got 'no_such_layer'.*needs nncore",
        ),
        (
            lambda g: g["layers"]["0"].update(groups=2),
            r"options of layer '0' \(dense\) must be .*; got .*groups",
        ),
        (lambda g: g["layers"]["0"].pop("bias"), "options of layer .* must be"),
        (lambda g: g["layers"]["0"].update(in_features=-3), "in_features must be at least 1"),
        (lambda g: g["layers"]["0"].update(in_features=10**12), "0.weight must be float32"),
        (lambda g: g["nodes"][1].update(layer="9"), "must be a file with the key '9'"),
        (lambda g: g["nodes"][1].update(inputs=[7]), "Sequential|index"),
        (lambda g: g.update(outputs=[99], sequential=False), "index"),
        (
            lambda g: g.update(outputs=[2], sequential=False),
            "must depend on all layers; got none that uses 2, 3",
        ),
        (lambda g: g.pop("nodes"), "must be a file with the key 'nodes'"),
        (lambda g: g.update(nodes=3), "not iterable"),
        (
            lambda g: g["layers"].update({"1": {"kind": "transposed_dense", "source": "5", "bias": True}}),
            "must refer to existing layers, without cycles; got '5'",
        ),
    ],
)
def test_graphs_that_cannot_be(path, change, message):
    small().save(path)
    graph = fields_of(path)["graph"]
    change(graph)
    rewrite(path, graph=graph)
    with pytest.raises(ValueError, match=message):
        nc.load(path)


def test_arrays_that_are_not_those_of_the_graph(path):
    small().save(path)
    tensors = load_file(path)
    for wrong in (
        {**tensors, "9.weight": np.zeros((1, 1), np.float32)},
        {name: array for name, array in tensors.items() if name != "2.bias"},
    ):
        rewrite(path, tensors=wrong)
        with pytest.raises(ValueError, match=r"got (9\.weight|2\.bias) missing or unexpected"):
            nc.load(path)
    rewrite(path, tensors={**tensors, "0.weight": np.zeros((3, 4), np.float32)})
    with pytest.raises(
        ValueError, match=r"0.weight must be float32 \(4, 3\), as in the graph; got float32 \(3, 4\)"
    ):
        nc.load(path)


def test_metadata_that_json_cannot_hold(path):
    model = small()
    for metadata, error in (
        ({"a": object()}, TypeError),
        ({"a": float("nan")}, ValueError),
        (["ab", "cd"], TypeError),
        ({1: "a"}, TypeError),
    ):
        with pytest.raises(error):
            model.save(path, metadata=metadata)
    assert list(path.parent.iterdir()) == []


# After a failure ----------------------------------------------------------------------------------------


def failing(*_, **__):
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("step", ["os.fsync", "pathlib.Path.replace", "shutil.copymode"])
def test_a_failure_while_saving_leaves_the_old_file(path, monkeypatch, step):
    small(seed=1).save(path)
    before = path.read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(step, failing)
        with pytest.raises(OSError, match="No space left"):
            small(seed=2).save(path)
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


FULL_DISK = """
import pathlib, resource, signal, sys
import nncore as nc
path = pathlib.Path(sys.argv[1])
nc.mlp([3, 2], seed=0).save(path)
before = path.read_bytes()
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
try:
    nc.mlp([300, 200], seed=0).save(path)
except OSError as error:
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]
    print("kept", error.errno)
"""


def test_a_disk_that_fills_up_while_writing_leaves_the_old_file(path):
    """A file size limit stops a write halfway, like a full disk."""
    arguments = [sys.executable, "-c", FULL_DISK, str(path)]
    done = subprocess.run(arguments, capture_output=True, text=True, check=True)
    assert done.stdout == f"kept {errno.EFBIG}\n"


def test_an_interrupt_while_saving_leaves_no_file(path, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("os.fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        small().save(path)
    assert list(path.parent.iterdir()) == []


def test_a_folder_that_is_not_there(path):
    with pytest.raises(FileNotFoundError):
        small().save(path.parent / "nowhere" / "model.safetensors")


def test_links_and_permissions_stay(path, tmp_path):
    small(seed=1).save(path)
    path.chmod(0o640)
    link = tmp_path / "link.safetensors"
    link.symlink_to(path)
    small(seed=2).save(link)
    assert link.is_symlink()
    assert nc.load(path).seed == 2
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_a_new_file_has_the_usual_permissions(path, tmp_path):
    small().save(path)
    usual = tmp_path / "usual"
    usual.touch()
    assert stat.S_IMODE(path.stat().st_mode) == stat.S_IMODE(usual.stat().st_mode)


# Checkpoints --------------------------------------------------------------------------------------------


def trainer(model=None, optimizer="adam"):
    return nc.Trainer(small() if model is None else model, "cross_entropy", optimizer)


def trained():
    result = trainer()
    result.fit(X, [0, 1, 0, 1, 1], epochs=2, batch_size=2, progress=False)
    return result


def test_a_checkpoint_is_a_model_file_too(path):
    saved = trained()
    saved.save(path)
    loaded = nc.load(path)
    assert np.array_equal(loaded.parameters, saved.model.parameters)
    loaded.save(path)
    assert set(load_file(path)) == {"0.weight", "0.bias", "2.weight", "2.bias"}


def test_a_checkpoint_holds_moments_in_the_shapes_of_weights(path):
    trained().save(path)
    tensors = load_file(path)
    assert tensors["optimizer.first_moment.0.weight"].shape == (4, 3)
    assert tensors["optimizer.steps"] == 6
    assert tensors["trainer.history.loss"].shape == (2,)


def test_checkpoints_are_equal_bytes_too(path, tmp_path):
    saved, other = trained(), tmp_path / "other.safetensors"
    saved.model.metadata = {"classes": ["cat", "dog"]}
    saved.save(path)
    again = trainer(small(seed=9))  # another seed: the file's seed replaces it
    again.restore(path)
    again.save(other)
    assert path.read_bytes() == other.read_bytes()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: trainer(nc.mlp([3, 5, 2], activation="tanh", output="softmax")),
            "must be built like the trainer's",
        ),
        (lambda: trainer(small(activation="relu")), "must be built like the trainer's"),
        (
            lambda: trainer(small(dtype=np.float64)),
            r"0.weight must be float64 \(4, 3\), as the trainer's; got float32",
        ),
        (lambda: trainer(optimizer="sgd"), "optimizer must be sgd, the trainer's; got adam"),
    ],
)
def test_a_checkpoint_of_another_trainer_is_refused(path, make, message):
    trained().save(path)
    other = make()
    before = other.model.parameters.copy()
    with pytest.raises(ValueError, match=message):
        other.restore(path)
    assert np.array_equal(other.model.parameters, before)
    assert other.history.epochs == 0


def test_a_model_without_a_trainer_cannot_be_resumed(path):
    small().save(path)
    with pytest.raises(ValueError, match=r"use nncore\.load"):
        trainer().restore(path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"settings": {"learning_rate": -1, "beta1": 0.9, "beta2": 0.999, "epsilon": 1e-8}}, "learning_rate"),
        ({"settings": {"learning_rate": 0.1}}, "settings must be"),
        ({"columns": ["loss", "gone"]}, "must be a file with the key 'trainer.history.gone'"),
        ({"seed": 2**64}, "seed must be in"),
    ],
)
def test_a_checkpoint_that_cannot_be_changes_nothing(path, changes, message):
    trained().save(path)
    rewrite(path, checkpoint={**fields_of(path)["checkpoint"], **changes})
    other = trainer(small(seed=9))
    before = other.model.parameters.copy()
    with pytest.raises(ValueError, match=message):
        other.restore(path)
    assert np.array_equal(other.model.parameters, before)
    assert other.optimizer.state(other.model.store).steps == 0


def test_a_copied_file_reads_alike(path, tmp_path):
    small().save(path)
    copy = shutil.copy(path, tmp_path / "copy.safetensors")
    assert np.array_equal(nc.load(copy).parameters, nc.load(path).parameters)
