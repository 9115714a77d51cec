"""TensorFlow graphs are programs: only operations that compute are served, wherever in a graph they stand."""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from tfaas.errors import InvalidBundle

# Operations that TensorFlow calls stateful, and that touch nothing but the model's own variables and tables.
STATEFUL = re.compile(
    r"VarHandleOp|VariableV2|ReadVariableOp|AssignVariableOp|Assign(Add|Sub)VariableOp|VarIsInitializedOp|VariableShape"
    r"|DisableCopyOnRead|TemporaryVariable|DestroyResourceOp|ResourceInitializedOp|Resource(Sparse)?(Apply|Scatter)\w+"
    r"|ResourceGather(Nd)?|ResourceStridedSliceAssign|(Mutable|MutableDense|Anonymous|AnonymousMutable|AnonymousMutableDense)?"
    r"HashTable(V2|OfTensors|OfTensorsV2)?|LookupTable(Find|Size|Import|Export|Insert|Remove)V2|InitializeTableV2"
    r"|(Stateful)?PartitionedCall|If|While|Case|TensorArray\w*|Stack(Push|Pop|Close)?(V2)?|Empty|DeepCopy|GuaranteeConst"
    r"|RandomUniform(Int)?|RandomStandardNormal|RandomShuffle|RandomGamma|RandomPoisson(V2)?|TruncatedNormal|Multinomial"
    r"|ParameterizedTruncatedNormal|Stateful\w+|RngSkip|RngReadAndSkip|NonDeterministicInts|StatelessRandomGetAlg"
    r"|Assert|CheckNumerics(V2)?|CudnnRNN\w*|_Arg|_Retval|DeviceIndex"
)
# Operations that TensorFlow calls stateless, and that read files, run Python, print or hold on to data.
TOUCHING = re.compile(
    r".*Dataset.*|.*Summary.*|.*PyFunc.*|.*TextFile.*|.*Files?|Debug.*|GenerateVocabRemapping|.*XlaCustomCall.*|TPU.*"
    r"|ImmutableConst|.*(Decode|Encode)Proto.*|MemmappedTensor.*"
)
# What TensorFlow itself writes into a SavedModel, to save and restore its variables.
SAVING = {"SaveV2", "RestoreV2", "MergeV2Checkpoints", "Save", "SaveSlices", "Restore", "RestoreSlice"}


def check_operations(path: Path) -> None:
    """Raise InvalidBundle unless a SavedModel or a frozen graph does nothing but compute.

    The operations of functions count like those of the graph, also where nothing seems to call them. Those that save
    and restore variables are let pass only where no prediction and no initialisation can reach them.
    """
    saved = path.name == "saved_model.pb"
    message = _parsed(path, saved)
    for meta in message.meta_graphs if saved else ():
        _check(meta.graph_def, _reachable(meta))
    if not saved:
        _check(message, None)


def _parsed(path: Path, saved: bool) -> Any:
    from google.protobuf.message import DecodeError
    from tensorflow.core.framework.graph_pb2 import GraphDef
    from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

    message: Any = SavedModel() if saved else GraphDef()
    try:
        message.ParseFromString(path.read_bytes())
    except DecodeError as error:
        raise InvalidBundle(f"{path.name!r} is no {'SavedModel' if saved else 'frozen graph'}: {error}") from error
    return message


# A node by the function that it stands in, "" for the graph, and its own name.
Place = tuple[str, str]


def _check(graph: Any, reachable: set[Place] | None) -> None:
    """Check all nodes; `reachable` are those that may run, None stands for all."""
    functions = {function.signature.name for function in graph.library.function}
    for place, node in _nodes(graph):
        if node.op in functions or _computes(node.op):
            continue
        if node.op in SAVING and reachable is not None and place not in reachable:
            continue
        raise InvalidBundle(
            f"the graph uses the operation {node.op!r}: expected none that touches files, runs other code or is unknown"
        )


def _nodes(graph: Any) -> Iterator[tuple[Place, Any]]:
    for node in graph.node:
        yield ("", node.name), node
    for function in graph.library.function:
        for node in function.node_def:
            yield (function.signature.name, node.name), node


def _computes(operation: str) -> bool:
    from tensorflow.python.framework import op_def_registry

    definition = op_def_registry.get(operation)
    if definition is None:
        return False
    if definition.is_stateful:
        return STATEFUL.fullmatch(operation) is not None
    return operation not in SAVING and TOUCHING.fullmatch(operation) is None


def _reachable(meta: Any) -> set[Place]:
    """The nodes that loading or predicting can run: all but what only the saver of the graph asks for."""
    graph, saver = meta.graph_def, meta.saver_def
    functions = {function.signature.name: function for function in graph.library.function}
    savers = {_node_name(name) for name in (saver.save_tensor_name, saver.restore_op_name, saver.filename_tensor_name)}
    waiting = [name for name in meta.object_graph_def.concrete_functions if name in functions]
    reached: set[Place] = set()
    for node in _wanted(graph, meta, savers):
        reached.add(("", node.name))
        waiting += _callees(node, functions)
    called: set[str] = set()
    while waiting:
        name = waiting.pop()
        if name in called:
            continue
        called.add(name)
        for node in functions[name].node_def:
            reached.add((name, node.name))
            waiting += _callees(node, functions)
    return reached


def _wanted(graph: Any, meta: Any, savers: set[str]) -> Iterator[Any]:
    """The nodes of the graph that a signature or an initialisation needs."""
    nodes = {node.name: node for node in graph.node}
    ends = [info.name for signature in meta.signature_def.values() for info in signature.outputs.values()]
    for collection in meta.collection_def.values():
        ends += [name for name in collection.node_list.value if _node_name(name) not in savers]
    waiting, seen = [_node_name(name) for name in ends], set[str]()
    while waiting:
        name = waiting.pop()
        if name in seen or name not in nodes:
            continue
        seen.add(name)
        yield nodes[name]
        waiting += [_node_name(needed) for needed in nodes[name].input]


def _callees(node: Any, functions: Iterable[str]) -> list[str]:
    names = [node.op]
    for value in node.attr.values():
        names += [value.func.name, *(function.name for function in value.list.func)]
    return [name for name in names if name in functions]


def _node_name(tensor: str) -> str:
    return tensor.lstrip("^").partition(":")[0]
