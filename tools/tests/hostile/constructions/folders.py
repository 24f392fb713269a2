"""SavedModels, TensorFlow.js, ncnn and OpenVINO models and CoreML files that ask for more than a network needs."""

import json
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from exporters.coreml.protobufs import protobuf_module
from exporters.tensorflow.serving import saved_model_pb2  # which sets TensorFlow's environment before its import
from tools.tests.hostile.constructions.construction import ESC, Build, Construction, changed_json, copied
from tools.tests.hostile.home import SECRET, Home
from tools.tests.hostile.spoil_coreml import operations

DEEP = 200_000


# SavedModels.


def _saved_model(change: Callable[[Any, Home], None]) -> Build:
    def build(home: Home) -> Construction:
        path = copied(home, "savedmodel")
        model = saved_model_pb2.SavedModel.FromString((path / "saved_model.pb").read_bytes())
        change(model.meta_graphs[0], home)
        (path / "saved_model.pb").write_bytes(model.SerializeToString())
        return Construction("model", path)

    return build


def _add_text(place: Any, name: str, text: str) -> None:
    node = place.add(name=name, op="Const")
    node.attr["dtype"].type = node.attr["value"].tensor.dtype = 7
    node.attr["value"].tensor.tensor_shape.SetInParent()
    node.attr["value"].tensor.string_val.append(text.encode())


def hidden_function(graph: Any, home: Home) -> None:
    """Add a function that writes a file, which only the object graph names, so that restoring the model runs it."""
    function = graph.graph_def.library.function.add()
    function.signature.name = "__inference_restore"
    for name, text in (("where", str(home.escaped)), ("names", "x"), ("slices", ""), ("data", "out")):
        _add_text(function.node_def, name, text)
    node = function.node_def.add(name="save", op="SaveV2")
    node.input.extend(f"{name}:output:0" for name in ("where", "names", "slices", "data"))
    node.attr["dtypes"].list.type.append(7)
    function.control_ret["save"] = "save"
    objects = graph.object_graph_def
    objects.nodes.add().function.concrete_functions.append("__inference_restore")
    resource = objects.nodes.add()
    resource.resource.device = ""
    for name in ("_create_resource", "_initialize"):
        resource.children.add(node_id=len(objects.nodes) - 2, local_name=name)
    objects.nodes[0].children.add(node_id=len(objects.nodes) - 1, local_name="own")
    saved = objects.nodes[0].saveable_objects["own"]
    saved.save_function = saved.restore_function = len(objects.nodes) - 2


def _operation(op: str) -> Callable[[Any, Home], None]:
    """Return a change that adds an operation on a file to the function that mattes a frame."""

    def change(graph: Any, home: Home) -> None:
        path = home.secret if op == "ReadFile" else home.escaped
        home.secret.write_bytes(b"secret")
        for place in (graph.graph_def.node, *(each.node_def for each in graph.graph_def.library.function)):
            inner = place is not graph.graph_def.node
            _add_text(place, "own_name", str(path))
            _add_text(place, "own_text", "out")
            inputs = ["own_name", "own_text"] if op == "WriteFile" else ["own_name"]
            node = place.add(name="own", op=op, input=[f"{name}:output:0" if inner else name for name in inputs])
            if op == "PyFunc":
                node.attr["token"].s = b"own"
            others = [each for each in place if each.op == "Identity"]
            for each in others[-1:]:
                each.input.append("^own")

    return change


def asset_outside(graph: Any, home: Home) -> None:
    home.secret.write_bytes(b"secret")
    graph.asset_file_def.add(filename=f"../../../outside/{SECRET}").tensor_info.name = "own:0"
    graph.object_graph_def.nodes.add().asset.asset_file_def_index = 0


def captured_tensor(graph: Any, home: Home) -> None:
    graph.object_graph_def.nodes.add().captured_tensor.name = "own:0"


def function_that_calls_itself(graph: Any, home: Home) -> None:
    for each in graph.graph_def.library.function:
        call = each.node_def.add(name="own", op="PartitionedCall")
        call.attr["f"].func.name = each.signature.name


def huge_constant(graph: Any, home: Home) -> None:
    """Let a constant claim 4 TB that all have the same value."""
    nodes = [node for each in graph.graph_def.library.function for node in each.node_def if node.op == "Const"]
    for node in nodes:
        tensor = node.attr["value"].tensor
        if tensor.dtype == 1:
            tensor.tensor_shape.ClearField("dim")
            tensor.tensor_shape.dim.add(size=2**40)
            tensor.ClearField("tensor_content")
            tensor.float_val[:] = [0.5]


def nested_saved_model(home: Home) -> Construction:
    """Open groups of protobuf a hundred thousand deep."""
    path = copied(home, "savedmodel")
    with (path / "saved_model.pb").open("ab") as file:
        file.write(b"\xfb\x7f" * 100_000)
    return Construction("model", path)


# TensorFlow.js.


def _tfjs(change: Callable[[Any, Path, Home], object]) -> Build:
    def build(home: Home) -> Construction:
        path = copied(home, "tfjs")
        changed_json(path / "model.json", lambda model: change(model, path, home))
        return Construction("tfjs", path)

    return build


def _shard(name: str) -> Build:
    """Return a construction whose weights lie elsewhere, where a trusting reader finds them complete."""

    def change(model: Any, path: Path, home: Home) -> None:
        home.secret.write_bytes((path / "group1-shard1of1.bin").read_bytes())
        model["weightsManifest"][0]["paths"] = [name.format(secret=home.secret)]

    return _tfjs(change)


def page_as_shard(home: Home) -> Construction:
    """Name the weights as a page, which `demo` would serve on its own origin."""
    path = copied(home, "tfjs")
    (path / "group1-shard1of1.bin").rename(path / "evil.html")
    changed_json(path / "model.json", lambda model: model["weightsManifest"][0].update(paths=["evil.html"]))
    return Construction("tfjs", path, check=lambda: ", ".join(map(str, home.outputs.rglob("evil.html"))))


def _model_json(text: bytes) -> Build:
    def build(home: Home) -> Construction:
        path = copied(home, "tfjs")
        (path / "model.json").write_bytes(text)
        return Construction("tfjs", path)

    return build


def nan_scales(model: Any, path: Path, home: Home) -> None:
    for weight in model["weightsManifest"][0]["weights"]:
        if "quantization" in weight:
            weight["quantization"] |= {"scale": float("nan"), "min": float("inf")}


def negative_shapes(model: Any, path: Path, home: Home) -> None:
    for weight in model["weightsManifest"][0]["weights"][:3]:
        weight["shape"] = [-1, 2**62]


def huge_shapes(model: Any, path: Path, home: Home) -> None:
    for weight in model["weightsManifest"][0]["weights"][:3]:
        weight["shape"] = [2**31, 2**31]


def metadata_that_terminals_act_on(model: Any, path: Path, home: Home) -> None:
    model["userDefinedMetadata"] = {ESC: ESC, "variant": ESC}
    model["generatedBy"] = model["convertedBy"] = model["format"] = ESC


# CoreML.


def _coreml(change: Callable[[Any, Home], None], source: str = "model.mlmodel") -> Build:
    def build(home: Home) -> Construction:
        path = copied(home, source)
        file = path / "Data/com.apple.CoreML/model.mlmodel" if path.is_dir() else path
        model = protobuf_module("Model").Model.FromString(file.read_bytes())
        model.description.metadata.userDefined.pop("graph_sha256", None)
        change(model, home)
        file.write_bytes(model.SerializeToString())
        return Construction("model", path)

    return build


def huge_layer(model: Any, home: Home) -> None:
    for layer in model.neuralNetwork.layers:
        if layer.WhichOneof("layer") == "convolution":
            layer.convolution.outputChannels = layer.convolution.kernelChannels = 2**40


def custom_layer(model: Any, home: Home) -> None:
    model.neuralNetwork.layers[3].custom.className = "Foreign"


def _stored(model: Any) -> list[Any]:
    """Return the values that refer to the weights."""
    values = [value for each in operations(model) for name, value in each.attributes.items() if name == "val"]
    return [value for value in values if value.WhichOneof("value") == "blobFileValue"]


def blob_outside(model: Any, home: Home) -> None:
    home.secret.write_bytes((home.good / "model.mlpackage/Data/com.apple.CoreML/weights/weight.bin").read_bytes())
    for value in _stored(model):
        value.blobFileValue.fileName = f"@model_path/../../../../../outside/{SECRET}"


def blob_beyond(model: Any, home: Home) -> None:
    for value in _stored(model):
        value.blobFileValue.offset = 2**62


def huge_program(model: Any, home: Home) -> None:
    for each in operations(model):
        for output in each.outputs:
            for dimension in output.type.tensorType.dimensions:
                dimension.constant.size = 2**40


def shared_blobs(model: Any, home: Home) -> None:
    """Add 8,000 constants of the same content, the largest of the weights."""
    (function,) = model.mlProgram.functions.values()
    place = function.block_specializations[function.opset].operations

    def size(value: Any) -> int:
        return math.prod(axis.constant.size for axis in value.type.tensorType.dimensions)

    largest = max(_stored(model), key=size)
    for number in range(8000):
        added = place.add(type="const")
        added.attributes["val"].CopyFrom(largest)
        added.outputs.add(name=f"own_{number}").type.CopyFrom(largest.type)


def coreml_metadata_that_terminals_act_on(model: Any, home: Home) -> None:
    metadata = model.description.metadata
    metadata.author = metadata.license = metadata.shortDescription = metadata.versionString = ESC
    metadata.userDefined[ESC] = metadata.userDefined["licence"] = ESC


def package_that_leads_outside(home: Home) -> Construction:
    """Let a package's list name a file outside as its model."""
    path = copied(home, "model.mlpackage")
    home.secret.write_bytes((path / "Data/com.apple.CoreML/model.mlmodel").read_bytes())

    def lead_outside(manifest: Any) -> None:
        for entry in manifest["itemInfoEntries"].values():
            entry["path"] = f"../../../outside/{SECRET}"

    changed_json(path / "Manifest.json", lead_outside)
    return Construction("model", path)


def nested_package(home: Home) -> Construction:
    path = copied(home, "model.mlpackage")
    (path / "Manifest.json").write_text("[" * DEEP + "]" * DEEP)
    return Construction("model", path)


def nested_metadata(home: Home) -> Construction:
    path = copied(home, "savedmodel")
    (path / "assets.extra/rvm_export.json").write_text('{"a":' * DEEP)
    return Construction("model", path)


def metadata_of_a_saved_model_that_terminals_act_on(home: Home) -> Construction:
    path = copied(home, "savedmodel")
    (path / "assets.extra/rvm_export.json").write_text(json.dumps({ESC: ESC, "licence": ESC, "checkpoint": ESC}))
    return Construction("model", path)


# ncnn.


def _ncnn(change: Callable[[str], str]) -> Build:
    """Return a model with a changed graph, and without the hash that would tell."""

    def build(home: Home) -> Construction:
        path = copied(home, "model.ncnn")
        (path / "rvm_export.json").unlink()
        graph = (path / "model.ncnn.param").read_text()
        (path / "model.ncnn.param").write_text(change(graph))
        return Construction("model", path)

    return build


def _resized(graph: str) -> str:
    """Let the first image grow to four billion pixels."""
    return graph.replace("0=2 1=0.5 2=0.5", "0=2 3=65535 4=65535", 1)


def _cropped(graph: str) -> str:
    """Crop an image beyond its borders, where ncnn reads what is there."""
    return graph.replace("Clip ", "Crop ", 1).replace("0=0.0 1=1.0", "-23309=2,0,0 -23310=2,9000,9000 -23311=2,1,2", 1)


def _counted(graph: str) -> str:
    return graph.replace(graph.splitlines()[1], "2000000000 2000000000", 1)


def ncnn_weights_outside(home: Home) -> Construction:
    path = copied(home, "model.ncnn")
    home.secret.write_bytes((path / "model.ncnn.bin").read_bytes())
    (path / "model.ncnn.bin").unlink()
    (path / "model.ncnn.bin").symlink_to(home.secret)
    return Construction("model", path)


def ncnn_metadata_that_terminals_act_on(home: Home) -> Construction:
    path = copied(home, "model.ncnn")
    (path / "rvm_export.json").write_text(json.dumps({ESC: ESC, "licence": ESC, "checkpoint": ESC}))
    return Construction("model", path)


# OpenVINO.


def _openvino(change: Callable[[str], str]) -> Build:
    """Return an IR with a changed graph, and without the hash that would tell."""

    def build(home: Home) -> Construction:
        path = copied(home, "model.openvino")
        graph = (path / "model.xml").read_text()
        without = graph[: graph.index("<rt_info><rvm_export>")] + "</net>"
        changed = change(without)
        assert changed != without
        (path / "model.xml").write_text(changed)
        return Construction("model", path)

    return build


def _declared(declaration: str, content: str) -> Callable[[str], str]:
    """Return a change that declares entities, and names a layer by one."""

    def change(graph: str) -> str:
        head, _, rest = graph.partition("<net")
        return f"{head}<!DOCTYPE net [{declaration}]><net" + rest.replace(' name="r1i"', f' name="{content}"', 1)

    return change


_LAUGHS = '<!ENTITY a "ha">' + "".join(
    f'<!ENTITY {name} "{f"&{before};" * 10}">' for before, name in zip("abcdefghij", "bcdefghijk", strict=True)
)


def _without_end(graph: str) -> str:
    """Let a constant begin in the weights, and end beyond them."""
    return re.sub(r'shape="16, 4, 3, 3" offset="\d+"', 'shape="16, 4, 3, 3" offset="99999999999"', graph, count=1)


def _shared(graph: str) -> str:
    """Add 3,000 constants of the same content, the largest of the weights."""
    constants = re.findall(r'<layer [^>]*type="Const".*?</layer>', graph, re.DOTALL)
    largest = max(constants, key=lambda each: int(re.findall(r' size="(\d+)"', each)[0]))
    added = (re.sub(r'id="\d+"', f'id="{10_000 + number}"', largest, count=1) for number in range(3000))
    return graph.replace("</layers>", "".join(added) + "</layers>", 1)


def _enlarged(graph: str) -> str:
    """Let the source be padded to four billion pixels."""
    return graph.replace('shape="?,3,?,?"', 'shape="1,3,65535,65535"', 1)


def openvino_weights_outside(home: Home) -> Construction:
    path = copied(home, "model.openvino")
    home.secret.write_bytes((path / "model.bin").read_bytes())
    (path / "model.bin").unlink()
    (path / "model.bin").symlink_to(home.secret)
    return Construction("model", path)


def openvino_metadata_that_terminals_act_on(home: Home) -> Construction:
    path = copied(home, "model.openvino")
    graph = (path / "model.xml").read_text()
    odd = "&#x9b;2J\x9b2J&#10;"
    (path / "model.xml").write_text(graph.replace('<checkpoint value="seeded"', f'<checkpoint value="{odd}"'))
    return Construction("model", path)


FOLDERS: dict[str, Build] = {
    "SavedModel with a hidden function that has SaveV2": _saved_model(hidden_function),
    "SavedModel with WriteFile": _saved_model(_operation("WriteFile")),
    "SavedModel with ReadFile": _saved_model(_operation("ReadFile")),
    "SavedModel with PyFunc": _saved_model(_operation("PyFunc")),
    "SavedModel with an asset outside": _saved_model(asset_outside),
    "SavedModel with a captured tensor": _saved_model(captured_tensor),
    "SavedModel with functions that call themselves": _saved_model(function_that_calls_itself),
    "SavedModel with constants of terabytes": _saved_model(huge_constant),
    "SavedModel nested a hundred thousand deep": nested_saved_model,
    "SavedModel with nested metadata": nested_metadata,
    "SavedModel with metadata that terminals act on": metadata_of_a_saved_model_that_terminals_act_on,
    "TensorFlow.js with a shard outside": _shard(f"../../outside/{SECRET}"),
    "TensorFlow.js with an absolute shard": _shard("{secret}"),
    "TensorFlow.js with a shard on a server": _shard("http://127.0.0.1:9/x.bin"),
    "TensorFlow.js with a page as shard": page_as_shard,
    "TensorFlow.js nested deeply": _model_json(b'{"modelTopology":' + b"[" * DEEP + b"]" * DEEP + b"}"),
    "TensorFlow.js with a number of a million digits": _model_json(b'{"weightsManifest":' + b"9" * 1_000_000 + b"}"),
    "TensorFlow.js in bytes that are no text": _model_json(b'{"\xff\xfe\x80": 1}'),
    "TensorFlow.js that is a list": _model_json(b"[]"),
    "TensorFlow.js with scales that are not numbers": _tfjs(nan_scales),
    "TensorFlow.js with negative shapes": _tfjs(negative_shapes),
    "TensorFlow.js with shapes of exabytes": _tfjs(huge_shapes),
    "TensorFlow.js with metadata that terminals act on": _tfjs(metadata_that_terminals_act_on),
    "CoreML with layers of terabytes": _coreml(huge_layer),
    "CoreML with a custom layer": _coreml(custom_layer),
    "CoreML with metadata that terminals act on": _coreml(coreml_metadata_that_terminals_act_on),
    "CoreML package with weights outside": _coreml(blob_outside, "model.mlpackage"),
    "CoreML package with weights beyond the file": _coreml(blob_beyond, "model.mlpackage"),
    "CoreML package with tensors of exabytes": _coreml(huge_program, "model.mlpackage"),
    "CoreML package with 8,000 constants of the same content": _coreml(shared_blobs, "model.mlpackage"),
    "CoreML package whose model lies outside": package_that_leads_outside,
    "CoreML package with a nested list": nested_package,
    "ncnn with an image of four billion pixels": _ncnn(_resized),
    "ncnn with a crop beyond its image": _ncnn(_cropped),
    "ncnn with counts of billions": _ncnn(_counted),
    "ncnn with sixty thousand layers": _ncnn(lambda graph: graph + "ReLU a 1 1 a a\n" * 60_000),
    "ncnn in words that terminals act on": _ncnn(lambda graph: graph.replace("Clip", ESC)),
    "ncnn with weights outside": ncnn_weights_outside,
    "ncnn with metadata that terminals act on": ncnn_metadata_that_terminals_act_on,
    "OpenVINO with ten billion laughs": _openvino(_declared(_LAUGHS, "&k;")),
    "OpenVINO with an entity outside": _openvino(_declared('<!ENTITY a SYSTEM "file:///etc/passwd">', "&a;")),
    "OpenVINO with a document type on a server": _openvino(
        lambda graph: graph.replace("<net", '<!DOCTYPE net SYSTEM "http://127.0.0.1:9/x.dtd"><net', 1)
    ),
    "OpenVINO nested two hundred thousand deep": _openvino(
        lambda graph: graph.replace("<edges>", "<a>" * DEEP + "</a>" * DEEP + "<edges>", 1)
    ),
    "OpenVINO with a layer of an extension": _openvino(
        lambda graph: graph.replace('type="HSwish" version="opset4"', 'type="Evil" version="extension"', 1)
    ),
    "OpenVINO with a loop": _openvino(lambda graph: graph.replace('type="HSwish"', 'type="TensorIterator"', 1)),
    "OpenVINO with a constant beyond its weights": _openvino(_without_end),
    "OpenVINO with 3,000 constants of the same content": _openvino(_shared),
    "OpenVINO with a source of four billion pixels": _openvino(_enlarged),
    "OpenVINO in words that terminals act on": _openvino(
        lambda graph: graph.replace('type="HSwish"', 'type="\x9b2J&#x9b;2J"', 1)
    ),
    "OpenVINO with weights outside": openvino_weights_outside,
    "OpenVINO with metadata that terminals act on": openvino_metadata_that_terminals_act_on,
}
