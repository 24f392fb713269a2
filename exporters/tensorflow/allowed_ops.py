"""The TensorFlow operations that a matting network may contain, from our exporter or another's.

A SavedModel with any other operation is refused: it could read files, write them or run code.
"""

OPERATIONS = {
    # Images and numbers.
    *("Add", "AddN", "AddV2", "AvgPool", "BiasAdd", "BroadcastTo", "Cast", "ClipByValue", "ConcatV2", "Conv2D"),
    *("DepthwiseConv2dNative", "Div", "DivNoNan", "Exp", "ExpandDims", "Fill", "Floor", "FusedBatchNormV3", "GatherV2"),
    *("GatherNd", "Size"),
    *("Max", "MaxPool", "Maximum", "Mean", "Min", "Minimum", "MirrorPad", "Mul", "Neg", "OnesLike", "Pack", "Pad"),
    *("PadV2", "Pow", "Range", "RealDiv", "Reciprocal", "Relu", "Relu6", "Reshape", "ResizeBilinear", "Round"),
    *("Rsqrt", "Select", "SelectV2", "Shape", "Sigmoid", "Slice", "Split", "SplitV", "Square", "SquaredDifference"),
    *("Squeeze", "StridedSlice", "Sub", "Sum", "Tanh", "Tile", "Transpose", "Unpack", "ZerosLike", "BatchToSpaceND"),
    "SpaceToBatchND",
    # Conditions and calls.
    *("Assert", "Equal", "Greater", "GreaterEqual", "If", "Less", "LessEqual", "LogicalAnd", "LogicalNot", "LogicalOr"),
    *("Merge", "NoOp", "NotEqual", "PartitionedCall", "StatefulPartitionedCall", "StatelessIf", "Switch"),
    # Weights.
    *("Const", "Identity", "IdentityN", "Placeholder", "ReadVariableOp", "VarHandleOp"),
}

SAVING = {
    *("AssignVariableOp", "DisableCopyOnRead", "MergeV2Checkpoints", "RestoreV2", "SaveV2", "ShardedFilename"),
    *("StaticRegexFullMatch", "StringJoin"),
}
"""Operations that restore a SavedModel's weights, or could save them. They are never allowed in a frame's functions."""
