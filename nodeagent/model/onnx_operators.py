"""Which operators a bundle's model may use. The standard's own domains are whole; of com.microsoft a list.

Left out of the list on purpose: operators that run other code or read other files, training, and MatMulNBits, whose
prepacking reads past its weights in onnxruntime up to 1.27.
"""

from __future__ import annotations

DOMAINS = frozenset(("", "ai.onnx.ml"))

MICROSOFT = frozenset(
    (
        "Attention",
        "BiasGelu",
        "BiasSoftmax",
        "BiasSplitGelu",
        "ConvTransposeWithDynamicPads",
        "CropAndResize",
        "DequantizeLinear",
        "DynamicQuantizeLSTM",
        "DynamicQuantizeMatMul",
        "EmbedLayerNormalization",
        "ExpandDims",
        "FastGelu",
        "FusedConv",
        "FusedGemm",
        "FusedMatMul",
        "Gelu",
        "GridSample",
        "Inverse",
        "MatMulInteger16",
        "MatMulIntegerToFloat",
        "MulInteger",
        "MultiHeadAttention",
        "NhwcMaxPool",
        "Pad",
        "QAttention",
        "QGemm",
        "QLinearAdd",
        "QLinearAveragePool",
        "QLinearConcat",
        "QLinearConv",
        "QLinearGlobalAveragePool",
        "QLinearLeakyRelu",
        "QLinearMul",
        "QLinearReduceMean",
        "QLinearSigmoid",
        "QLinearSoftmax",
        "QLinearWhere",
        "QuantizeLinear",
        "QuickGelu",
        "ReduceSumInteger",
        "RotaryEmbedding",
        "SkipLayerNormalization",
        "SkipSimplifiedLayerNormalization",
        "Trilu",
        "Unique",
    )
)


def refusal(domain: str, name: str) -> str:
    """Why an operator is not accepted; empty where it is."""
    if not name:
        return "a node without an operator"
    if domain in DOMAINS or (domain == "com.microsoft" and name in MICROSOFT):
        return ""
    if domain == "com.microsoft":
        return f"operator com.microsoft::{name[:80]} is not on the list"
    return f"operator {name[:80]} is of the domain {domain[:80]!r}, which is not accepted"
