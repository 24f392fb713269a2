"""Test the SavedModel from the consumer's side: called with a list, by its signature, compiled; bytes; bad files."""

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from exporters import FORMATS, describe, load_exporter, load_runtime, recognise
from exporters.artifact import INPUTS, OUTPUTS, ArtifactError
from exporters.recover import recover
from exporters.spec import Fixed
from exporters.support.archive import pack
from exporters.tensorflow import METADATA, TensorflowSpec
from exporters.tests.tensorflow_index import edited
from rvm_model import load_checkpoint
from rvm_model.state import state_shapes

SIZE = Fixed(width=96, height=64, ratio=0.5)


def export(path, variant="mobilenetv3", refiner="deep_guided_filter", **options):
    spec = TensorflowSpec(variant=variant, refiner=refiner, precision="fp32", **options)
    load_exporter("tensorflow").export(load_checkpoint("seeded", variant, refiner), spec, path)
    return path


@pytest.fixture(scope="module")
def folder(exported, tmp_path_factory) -> Path:
    """Return a SavedModel. Tests must not change it."""
    place = tmp_path_factory.mktemp("tensorflow")
    with zipfile.ZipFile(exported("tensorflow")) as archive:
        archive.extractall(place)
    return place / "rvm_mobilenetv3_tf"


@pytest.fixture
def copy(folder, tmp_path) -> Path:
    return shutil.copytree(folder, tmp_path / "copy")


@pytest.fixture(scope="module")
def model(folder):
    import tensorflow as tf

    load_runtime("tensorflow")
    return tf.saved_model.load(str(folder))


def frames(count, height, width, batch=1):
    generator = torch.Generator().manual_seed(0)
    return [torch.rand(batch, 3, height, width, generator=generator) for _ in range(count)]


def nhwc(tensor):
    return tensor.permute(0, 2, 3, 1).numpy()


@pytest.mark.parametrize(
    ("height", "width", "ratio", "batch"), [(217, 331, 0.375, 1), (64, 96, 1.0, 1), (61, 97, 0.5, 2), (64, 96, 0.25, 1)]
)
def test_called_with_a_list_it_is_the_network(model, height, width, ratio, batch):
    """The sizes include some where TensorFlow's own resize is wrong, and ratio 1, which skips the refiner."""
    network = load_checkpoint("seeded").network("auto")
    expected_states, states = [None] * 4, [0.0] * 4
    for src in frames(3, height, width, batch):
        with torch.inference_mode():
            fgr, pha, *expected_states = network(src, *expected_states, ratio)
        outputs = model([nhwc(src), *states, ratio])
        assert {*outputs} == {*OUTPUTS}
        states = [outputs[name] for name in OUTPUTS[2:]]
        for expected, name in zip((fgr, pha, *expected_states), OUTPUTS, strict=True):
            assert np.abs(nhwc(expected) - outputs[name].numpy()).max() <= 1e-5, name


@pytest.mark.parametrize("shape", [(), (1,), (1, 1, 1, 1)])
def test_the_first_state_is_a_zero_of_any_rank(model, shape):
    src = nhwc(frames(1, 64, 96)[0])
    expected = model([src, *[0.0] * 4, 0.5])
    given = model([src, *[np.zeros(shape, np.float32)] * 4, 0.5])
    np.testing.assert_array_equal(expected["pha"], given["pha"])


def test_keras_takes_it_as_a_layer_and_in_no_other_way(model, folder):
    import keras
    import tensorflow as tf

    with pytest.raises(ValueError, match="not supported"):
        keras.models.load_model(folder)
    layer = keras.layers.TFSMLayer(folder, call_endpoint="__call__")
    src, ratio = tf.constant(np.random.default_rng(0).random((1, 48, 64, 3), np.float32)), tf.constant(0.5)
    given, expected = [tf.zeros((1, 1, 1, 1))] * 4, [0.0] * 4
    for _ in range(2):
        matte, wanted = layer([src, *given, ratio]), model([src, *expected, 0.5])
        np.testing.assert_array_equal(matte["pha"], wanted["pha"])
        given, expected = ([each[f"r{k}o"] for k in (1, 2, 3, 4)] for each in (matte, wanted))


def test_the_signature_has_the_released_names(model):
    import tensorflow as tf

    serve = model.signatures["serving_default"]
    assert {*serve.structured_input_signature[1]} == {*INPUTS}
    values = (nhwc(frames(1, 64, 96)[0]), *[0.0] * 4, 0.5)
    named = serve(**{name: tf.constant(value, tf.float32) for name, value in zip(INPUTS, values, strict=True)})
    np.testing.assert_array_equal(named["fgr"], model([*values])["fgr"])


def test_no_operation_that_tfjs_lacks_or_a_branch(folder):
    artifact_graph = load_runtime("tensorflow").read_graph(folder, folder).graph_def
    operations = {node.op for function in artifact_graph.library.function for node in function.node_def}
    assert not operations & {"If", "StatelessIf", "While", "SpaceToBatchND", "BatchToSpaceND", "Switch", "Merge"}


@pytest.fixture(scope="module")
def fixed(exported) -> Path:
    return exported("tensorflow", fixed=SIZE)


@pytest.mark.long
def test_of_one_size_it_compiles(fixed, tmp_path):
    import tensorflow as tf

    with zipfile.ZipFile(fixed) as archive:
        archive.extractall(tmp_path)
    model = tf.saved_model.load(str(tmp_path / "rvm_mobilenetv3_tf"))
    compiled = tf.function(lambda *inputs: model([*inputs]), jit_compile=True)
    states = [np.zeros(np.array(shape)[[0, 2, 3, 1]], np.float32) for shape in state_shapes("mobilenetv3", 64, 96, 0.5)]
    src = nhwc(frames(1, 64, 96)[0])
    for expected, given in zip(model([src, *states]).values(), compiled(src, *states).values(), strict=True):
        np.testing.assert_allclose(expected, given, atol=1e-5)


@pytest.mark.long
@pytest.mark.parametrize(
    "size",
    [Fixed(width=331, height=217, ratio=0.375, batch=2), Fixed(width=97, height=61, ratio=1)],
    ids=["batch 2", "ratio 1"],
)
def test_of_one_size_it_is_the_network(size, tmp_path):
    runtime = load_runtime("tensorflow")
    artifact = runtime.inspect(export(tmp_path / "fixed.zip", fixed=size))
    assert artifact.fixed == size
    network, states, state = load_checkpoint("seeded").network("auto"), [None] * 4, None
    with runtime.load(artifact, "cpu", size.ratio) as step:
        for src in frames(2, size.height, size.width, size.batch):
            with torch.inference_mode():
                fgr, pha, *states = network(src, *states, size.ratio)
            matte, state = step(src.numpy(), state)
            given = (matte.fgr, matte.pha, *runtime.to_numpy(state))
            for expected, one in zip((fgr, pha, *states), given, strict=True):
                assert np.abs(expected.numpy() - one).max() <= 1e-5


def test_what_does_not_run_is_said_in_a_line(folder):
    runtime = load_runtime("tensorflow")
    message = r"does not run: .*\w"
    with (
        runtime.load(runtime.inspect(folder), "cpu", 0.5) as step,
        pytest.raises(ArtifactError, match=message) as caught,
    ):
        step(np.zeros((1, 3, 64, 96), np.float32), tuple(np.zeros((1, 5, 7, 16), np.float32) for _ in range(4)))
    assert "Graph execution error" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_it_is_told_from_itself(folder):
    assert recognise(folder) == "tensorflow"
    artifact = load_runtime("tensorflow").inspect(folder)
    assert (artifact.variant, artifact.refiner, artifact.precision) == ("mobilenetv3", "deep_guided_filter", "fp32")
    assert (artifact.fixed, artifact.refine) == (None, "auto")
    assert [tensor.name for tensor in artifact.inputs] == list(INPUTS)
    assert artifact.metadata["layout"] == "NHWC"
    assert artifact.metadata["weights_sha256"] == load_checkpoint("seeded").weights_sha256


@pytest.mark.long
def test_of_one_size_it_says_which(fixed):
    assert recognise(fixed) == "tensorflow"
    artifact = load_runtime("tensorflow").inspect(fixed)
    assert artifact.fixed == SIZE
    assert [tensor.name for tensor in artifact.inputs] == list(INPUTS[:5])


@pytest.mark.long
def test_resnet50_and_the_fast_guided_filter(tmp_path):
    path = export(tmp_path / "model.zip", "resnet50", "fast_guided_filter")
    artifact = load_runtime("tensorflow").inspect(path)
    assert (artifact.variant, artifact.refiner) == ("resnet50", "fast_guided_filter")
    network, states, state = (
        load_checkpoint("seeded", "resnet50", "fast_guided_filter").network("auto"),
        [None] * 4,
        None,
    )
    with load_runtime("tensorflow").load(artifact, "cpu", 0.375) as step:
        for src in frames(2, 61, 97):
            with torch.inference_mode():
                _, pha, *states = network(src, *states, 0.375)
            matte, state = step(src.numpy(), state)
            assert np.abs(matte.pha - pha.numpy()).max() <= 5e-3
            for expected, given in zip(states, load_runtime("tensorflow").to_numpy(state), strict=True):
                assert np.abs(expected.numpy() - given).max() <= 1e-5


def test_names():
    spec = TensorflowSpec(variant="mobilenetv3", refiner="fast_guided_filter", precision="fp32", fixed=SIZE)
    suffix = FORMATS["tensorflow"].suffix
    assert spec.file_name(suffix, seeded=True) == "rvm_mobilenetv3_fgf_96x64_s0.5_tf_seeded.zip"
    plain = TensorflowSpec(variant="resnet50", refiner="deep_guided_filter", precision="fp32")
    assert plain.file_name(suffix, seeded=False) == "rvm_resnet50_tf.zip"


EXPORT_ELSEWHERE = """
from pathlib import Path
from exporters.tests.test_tensorflow import export
export(Path("other_name.zip"))
"""


@pytest.mark.long
def test_the_same_bytes_from_another_process_and_as_a_folder(tmp_path):
    folder = export(tmp_path / "model", folder=True)
    environment = os.environ | {"PYTHONHASHSEED": "5", "TZ": "Asia/Tokyo", "PYTHONPATH": str(Path.cwd())}
    subprocess.run([sys.executable, "-c", EXPORT_ELSEWHERE], cwd=tmp_path, env=environment, check=True, timeout=300)
    pack(folder, tmp_path / "again.zip", "rvm_mobilenetv3_tf")
    assert (tmp_path / "other_name.zip").read_bytes() == (tmp_path / "again.zip").read_bytes()


def spoil_graph(folder):
    (folder / "saved_model.pb").write_bytes((folder / "saved_model.pb").read_bytes()[:100_000])


def drop_weights(folder):
    shutil.rmtree(folder / "variables")


def cut_weights(folder):
    data = next((folder / "variables").glob("*.data*"))
    data.write_bytes(data.read_bytes()[:10_000])


def cut_index(folder):
    index = next((folder / "variables").glob("*.index"))
    index.write_bytes(index.read_bytes()[:1000])


def empty_index(folder):
    next((folder / "variables").glob("*.index")).write_bytes(b"")


def damage_index(folder):
    index = next((folder / "variables").glob("*.index"))
    index.write_bytes(index.read_bytes()[:-100] + index.read_bytes()[-60:])


def spoil_metadata(folder):
    (folder / METADATA).write_text("[1, 2")


def change_graph(change):
    """Return an edit that changes the only graph."""

    def changed(folder):
        from tensorflow.core.protobuf import saved_model_pb2

        model = saved_model_pb2.SavedModel.FromString((folder / "saved_model.pb").read_bytes())
        change(model.meta_graphs[0])
        (folder / "saved_model.pb").write_bytes(model.SerializeToString())

    return changed


def type_that_tensorflow_lacks(graph):
    graph.signature_def["serving_default"].inputs["src"].dtype = 0


def constant_of_another_type(graph):
    nodes = (node for function in graph.graph_def.library.function for node in function.node_def)
    next(node for node in nodes if node.op == "Const").attr["value"].tensor.dtype = 4


def padding_of_millions(graph):
    nodes = (node for function in graph.graph_def.library.function for node in function.node_def)
    padding = next(node for node in nodes if node.op == "Const" and node.name.endswith("paddings"))
    padding.attr["value"].tensor.tensor_content = (1 << 21).to_bytes(4, "little") * 8


def long_padding_of_millions(graph):
    nodes = (node for function in graph.graph_def.library.function for node in function.node_def)
    padding = next(node for node in nodes if node.op == "Const" and node.name.endswith("paddings"))
    padding.attr["dtype"].type = padding.attr["value"].tensor.dtype = 9  # int64
    padding.attr["value"].tensor.tensor_content = (1 << 21).to_bytes(8, "little") * 8


def put_operation(operation, *callers):
    """Return an edit that adds an operation to a matte's function, or at the end of a chain of calls from it."""

    def put(graph):
        library = graph.graph_def.library
        function = next(each for each in library.function if "__call__" in each.signature.name)
        for name in callers:
            call = function.node_def.add(name=name, op="PartitionedCall")
            call.attr["f"].func.name = name
            function = library.function.add()
            function.signature.name = name
        function.node_def.add(name="spy", op=operation)

    return change_graph(put)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (spoil_graph, "is no SavedModel"),
        (drop_weights, "no weights that can be read"),
        (cut_index, "no weights that can be read"),
        (empty_index, "no weights that can be read"),
        (damage_index, "no weights that can be read"),
        (spoil_metadata, "is no JSON"),
        (change_graph(type_that_tensorflow_lacks), "not float32"),
        (change_graph(padding_of_millions), "paddings' has the number 2097152; expected at most 64"),
        (change_graph(long_padding_of_millions), "paddings' has the number 2097152; expected at most 64"),
        (change_graph(constant_of_another_type), "has not the type that it claims"),
        (put_operation("ReadFile"), "operations that a matting network does not need: ReadFile"),
        (put_operation("SaveV2"), "operations that a matting network does not need: SaveV2"),
        (put_operation("SaveV2", "one", "two"), "operations that a matting network does not need: SaveV2"),
    ],
)
def test_a_spoiled_one_is_refused(spoil, message, copy):
    spoil(copy)
    with pytest.raises(ArtifactError, match=message) as caught:
        load_runtime("tensorflow").inspect(copy)
    assert "\n" not in str(caught.value)


def weights_elsewhere(folder):
    shard = next((folder / "variables").glob("*.data*"))
    shard.rename(folder.parent / "elsewhere")
    shard.symlink_to(folder.parent / "elsewhere")


def weights_from_a_pipe(folder):
    shard = next((folder / "variables").glob("*.data*"))
    shard.unlink()
    os.mkfifo(shard)


def index_of_a_device(folder):
    index = next((folder / "variables").glob("*.index"))
    index.unlink()
    index.symlink_to("/dev/zero")


def graph_from_a_pipe(folder):
    (folder / "saved_model.pb").unlink()
    os.mkfifo(folder / "saved_model.pb")


def metadata_from_a_pipe(folder):
    (folder / METADATA).unlink()
    os.mkfifo(folder / METADATA)


def folder_for_metadata(folder):
    (folder / METADATA).unlink()
    (folder / METADATA).mkdir()


def nested_metadata(folder):
    (folder / METADATA).write_text("[" * 100_000)


def large_metadata(folder):
    (folder / METADATA).write_text(f'{{"a": "{"b" * 1_000_000}"}}')


def huge_weights(folder):
    """Claim a terabyte for a weight of 512 bytes."""

    def grow(name, entry):
        if name.startswith("weights/aspp..aspp1..0..bias"):
            del entry.shape.dim[:]
            entry.shape.dim.add(size=2**38)

    index = next((folder / "variables").glob("*.index"))
    index.write_bytes(edited(index.read_bytes(), grow))


FOLDERS = {
    weights_elsewhere: "it points outside itself, to 'variables/variables.data-00000-of-00001'",
    weights_from_a_pipe: "'variables/variables.data-00000-of-00001' is no regular file",
    index_of_a_device: "it points outside itself, to 'variables/variables.index'",
    graph_from_a_pipe: "'saved_model.pb' is no regular file",
    metadata_from_a_pipe: f"'{METADATA}' is no regular file",
    folder_for_metadata: "cannot be read: Is a directory",
    nested_metadata: "is no JSON",
    large_metadata: "at most 1000000 are read",
    huge_weights: r"its weights would have \d{13} bytes, and their files have \d{8} together",
}


@pytest.mark.timeout(120)
@pytest.mark.parametrize("attack", FOLDERS, ids=lambda attack: attack.__name__)
def test_a_folder_that_leads_elsewhere_or_never_ends_is_refused(attack, copy):
    attack(copy)
    with pytest.raises(ArtifactError, match=FOLDERS[attack]) as caught:
        load_runtime("tensorflow").inspect(copy)
    assert "\n" not in str(caught.value)


@pytest.fixture(scope="module")
def attack(folder, tmp_path_factory) -> tuple[Path, Path]:
    """A network that writes a file when `tf.saved_model.load` restores it, and the file."""
    import tensorflow as tf
    from tensorflow.python.trackable.autotrackable import AutoTrackable

    place = tmp_path_factory.mktemp("attack")
    written = place / "written"

    class Attack(AutoTrackable):
        def _serialize_to_tensors(self):
            return {"value": tf.constant(1.0)}

        def _restore_from_tensors(self, restored):
            value = restored["value"]
            tf.raw_ops.SaveV2(prefix=str(written), tensor_names=["a"], shape_and_slices=[""], tensors=[value])
            return value

    model = tf.saved_model.load(str(folder))
    model.attack = Attack()
    tf.saved_model.save(model, str(place / "model"), signatures=model.signatures)
    return place / "model", written


def test_a_function_that_writes_when_it_restores_is_refused(attack):
    import tensorflow as tf

    model, written = attack
    tf.saved_model.load(str(model))
    assert [*written.parent.glob("written*")], "TensorFlow itself does not run it, which makes this test worth nothing"
    for each in written.parent.glob("written*"):
        each.unlink()
    with pytest.raises(ArtifactError, match="operations that a matting network does not need: SaveV2"):
        load_runtime("tensorflow").inspect(model)
    assert not [*written.parent.glob("written*")]


def test_a_function_that_only_the_object_graph_names_is_refused(attack, tmp_path):
    from tensorflow.core.protobuf import saved_model_pb2

    model = shutil.copytree(attack[0], tmp_path / "model")
    saved = saved_model_pb2.SavedModel.FromString((model / "saved_model.pb").read_bytes())
    saved.meta_graphs[0].object_graph_def.concrete_functions.clear()
    (model / "saved_model.pb").write_bytes(saved.SerializeToString())
    with pytest.raises(ArtifactError, match="operations that a matting network does not need: SaveV2"):
        load_runtime("tensorflow").inspect(model)


@pytest.mark.long
def test_what_restores_a_file_is_not_run(attack, monkeypatch):
    """Neither to play nor to recover it, even if its graph passed for a network's."""
    from exporters.tensorflow import serving

    model, written = attack
    monkeypatch.setattr(serving, "OPERATIONS", serving.OPERATIONS | serving.SAVING)
    monkeypatch.setattr(serving, "SAVING", set())
    runtime = load_runtime("tensorflow")
    with runtime.load(runtime.inspect(model), "cpu", 0.5) as step:
        step(np.zeros((1, 3, 64, 96), np.float32), None)
    recover([describe(model)])
    assert not [*written.parent.glob("written*")]


def test_an_asset_is_refused(folder, tmp_path):
    import tensorflow as tf

    model = tf.saved_model.load(str(folder))
    (tmp_path / "words").write_text("a")
    model.words = tf.saved_model.Asset(str(tmp_path / "words"))
    tf.saved_model.save(model, str(tmp_path / "model"), signatures=model.signatures)
    with pytest.raises(ArtifactError, match="that a matting network does not need"):
        load_runtime("tensorflow").inspect(tmp_path / "model")


def test_an_object_of_another_kind_is_refused(copy):
    from tensorflow.core.protobuf import saved_model_pb2

    path = copy / "saved_model.pb"
    saved = saved_model_pb2.SavedModel.FromString(path.read_bytes())
    saved.meta_graphs[0].object_graph_def.nodes.add().asset.asset_file_def_index = 0
    path.write_bytes(saved.SerializeToString())
    with pytest.raises(ArtifactError, match="objects that a matting network does not need: asset"):
        load_runtime("tensorflow").inspect(copy)


def test_cut_weights_are_refused(copy):
    cut_weights(copy)
    with pytest.raises(ArtifactError, match="is damaged: its weights would have"):
        load_runtime("tensorflow").inspect(copy)


def test_another_saved_model_is_refused(tmp_path):
    import tensorflow as tf

    class Other(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None])])
        def __call__(self, x):
            return {"y": x + self.weight}

        def __init__(self):
            super().__init__()
            self.weight = tf.Variable(1.0)

    other = Other()
    tf.saved_model.save(other, str(tmp_path / "other"), signatures={"serving_default": other.__call__})
    with pytest.raises(ArtifactError, match="not of a matting network"):
        load_runtime("tensorflow").inspect(tmp_path / "other")


@pytest.mark.parametrize("name", ["../saved_model.pb", "/saved_model.pb"])
def test_entries_that_point_outside_are_refused(name, folder, tmp_path):
    pack(folder, tmp_path / "evil.zip", "model")
    with zipfile.ZipFile(tmp_path / "evil.zip", "a") as archive:
        archive.writestr(name, b"outside")
    with pytest.raises(ArtifactError, match="lies outside the archive"):
        load_runtime("tensorflow").inspect(tmp_path / "evil.zip")


def test_a_bomb_is_refused(folder, tmp_path):
    pack(folder, tmp_path / "bomb.zip", "model")
    with zipfile.ZipFile(tmp_path / "bomb.zip", "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("model/zeros", bytes(200_000_000))
    with pytest.raises(ArtifactError, match="is refused"):
        load_runtime("tensorflow").inspect(tmp_path / "bomb.zip")


def test_metadata_is_json_beside_the_graph(folder):
    assert json.loads((folder / METADATA).read_text())["variant"] == "mobilenetv3"


def test_rows_are_found_by_numbers_that_half_floats_hold(monkeypatch):
    """On a GPU without float32 TF.js keeps the positions in half floats, which are exact up to 2048."""
    import tensorflow as tf

    from exporters.tensorflow.ops import _rows

    largest = []
    gather_nd = tf.gather_nd
    monkeypatch.setattr(tf, "gather_nd", lambda x, at: (largest.append(int(tf.reduce_max(at))), gather_nd(x, at))[1])
    x = tf.random.stateless_uniform([2, 180, 320, 3], seed=(1, 2))
    for axis, numbers in ((1, [0, 179, 3]), (2, [319, 0, 7, 7])):
        picked = _rows(x, tf.constant(numbers), axis)
        assert np.array_equal(picked, np.take(x.numpy(), numbers, axis))
    assert max(largest) < 2 * 180
