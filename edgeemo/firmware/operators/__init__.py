"""Which TFLite operator becomes which layers: one function an operator, which adds them to a
`Reader`."""

from collections.abc import Callable

from edgeemo.firmware.layers import Op
from edgeemo.firmware.operators import elementwise, places, pools, products
from edgeemo.firmware.reader import Reader

OPERATORS: dict[str, Callable[[Reader], None]] = {
    "ABS": elementwise.looked_up,
    "ADD": elementwise.add,
    "AVERAGE_POOL_2D": lambda reader: pools.pool(reader, Op.AVERAGE_POOL_2D),
    "CONCATENATION": places.concatenation,
    "CONV_2D": products.conv,
    "DEPTHWISE_CONV_2D": products.depthwise,
    "EXP": elementwise.looked_up,
    "EXPAND_DIMS": places.alias,
    "FULLY_CONNECTED": products.dense,
    "GELU": elementwise.looked_up,
    "HARD_SWISH": elementwise.looked_up,
    "LEAKY_RELU": elementwise.looked_up,
    "LOG": elementwise.looked_up,
    "LOGISTIC": elementwise.looked_up,
    "MAXIMUM": elementwise.looked_up,
    "MAX_POOL_2D": lambda reader: pools.pool(reader, Op.MAX_POOL_2D),
    "MEAN": pools.mean,
    "MINIMUM": elementwise.looked_up,
    "MUL": elementwise.multiply,
    "PAD": places.pad,
    "PADV2": places.pad,
    "QUANTIZE": elementwise.rescale,
    "REDUCE_MAX": pools.largest,
    "RELU": elementwise.rescale,
    "RELU6": elementwise.rescale,
    "RELU_0_TO_1": elementwise.looked_up,
    "RELU_N1_TO_1": elementwise.rescale,
    "RESHAPE": places.alias,
    "RESIZE_BILINEAR": places.bilinear,
    "RESIZE_NEAREST_NEIGHBOR": places.nearest,
    "RSQRT": elementwise.looked_up,
    "SOFTMAX": pools.softmax,
    "SQUEEZE": places.alias,
    "SUB": elementwise.subtract,
    "TANH": elementwise.looked_up,
    "TRANSPOSE": places.transpose,
}
"""By the names of `edgeemo.firmware.graph.BUILTINS`."""
