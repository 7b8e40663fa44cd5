"""The README and the Makefile beside the generated C."""

from pathlib import Path

from edgeemo.contract.bundle import Bundle
from edgeemo.firmware.network import Network
from edgeemo.firmware.plan import Plan
from export.firmware.settings import c_text

_C = Path(__file__).parent / "c"
_BUILD = {
    "c99": "make check                 # builds for this machine and runs the self-test",
    "cortex-m": "make CPU=cortex-m4         # libedgeemo.a for arm-none-eabi-gcc, and its size",
    "esp32": "cp -r . PROJECT/components/edgeemo   # then: idf.py build",
}
_IMAGE = "| `edgeemo_image.c/.h` | checks and runs a model from a flash partition (model.bin) |\n"


def makefile(target: str) -> str:
    """The Makefile of a target."""
    return (_C / f"Makefile.{target}").read_text(encoding="utf-8")


def readme(bundle: Bundle, network: Network, plan: Plan, target: str) -> str:
    """What lies in the folder, how it is built and called, and what each layer takes."""
    manifest = bundle.manifest
    text = (_C / "README.md.in").read_text(encoding="utf-8")
    for word, value in {
        "NAME": manifest.name,
        "VERSION": manifest.version,
        "BUILD": _BUILD[target],
        "MORE": _IMAGE if target == "esp32" else "",
        "TABLE_BYTES": f"{network.weight_bytes:,}",
        "ARENA_BYTES": f"{plan.arena_bytes:,}",
        "LAYERS": "\n".join(_rows(network, plan)),
    }.items():
        text = text.replace(f"@{word}@", value)
    return text


def _rows(network: Network, plan: Plan) -> list[str]:
    rows = []
    for i, layer in enumerate(network.layers):
        place = plan.offsets[layer.output]
        tables = sum(a.nbytes for a in (layer.table, layer.bias, layer.multiplier, layer.shift))
        shape = "x".join(map(str, layer.out_shape))
        stop = place + network.tensor_bytes[layer.output]
        rows.append(
            f"| {i} | {c_text(layer.name)} | {layer.op.name} | {shape} | {layer.multiply_accumulates:,} | {tables:,} | {place:,} to {stop:,} |"
        )
    return rows
