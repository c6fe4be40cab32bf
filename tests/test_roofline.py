"""The roofline: FLOPs and bytes by the shapes that operators tell, their time, and what device and memory allow."""

import json
from pathlib import Path
from typing import Any

import pytest
from msgspec import Raw

from tests.kineto_traces import IDS, KERNEL, LAUNCH, OP, write
from tests.stores import needs_traces, read, shared
from toolkit.analyses.roofline import NO_PEAK_OF_HOST, RooflinePart, rooflines
from toolkit.ingest.kineto_events import Args
from toolkit.ingest.kineto_work import work_of

V100 = {"deviceProperties": [{"id": 0, "name": "Tesla V100-SXM2-32GB"}]}
CONVOLUTION = ["", "", "", "[2, 2]", "[3, 3]", "[1, 1]", "False", "[0, 0]", "1"]
BACKWARD = ["", "", "", "[0]", "[1]", "[0]", "[1]", "False", "[0]", "1"]


def args(shapes: list[Any], values: list[str] | None = None, kind: str = "float") -> Args:
    """Arguments of an operator, as Kineto writes them."""
    told = {"dims": json.dumps(shapes), "values": json.dumps(values or []), "types": json.dumps([kind] * len(shapes))}
    return Args(**{name: Raw(text.encode()) for name, text in told.items()})


@pytest.mark.parametrize(
    ("name", "shapes", "values", "flops", "elements"),
    [
        ("aten::mm", [[2, 3], [3, 5]], [], 60, 6 + 15 + 10),
        ("aten::addmm", [[5], [2, 3], [3, 5], [], []], [], 60, 31),
        ("aten::bmm", [[7, 2, 3], [7, 3, 5]], [], 420, 7 * 31),
        ("aten::baddbmm", [[7, 2, 5], [7, 2, 3], [7, 3, 5], [], []], [], 420, 7 * 31),
        # ResNet's first: 112 x 112 x 64 results of 7 x 7 x 3 products each
        (
            "aten::convolution", [[1, 3, 224, 224], [64, 3, 7, 7], [], [], [], [], [], [], []], CONVOLUTION,
            2 * 112 * 112 * 64 * 147, 3 * 224 * 224 + 64 * 147 + 112 * 112 * 64,
        ),
        # depthwise: each of 8 channels by itself
        (
            "aten::convolution", [[1, 8, 4, 4], [8, 1, 3, 3], [], [], [], [], [], [], []],
            ["", "", "", "[1]", "[1]", "[1]", "False", "[0]", "8"], 2 * 8 * 16 * 9, 128 + 72 + 128,
        ),
        # transposed: each of 4 x 4 x 2 values goes into 3 channels of 2 x 2
        (
            "aten::convolution", [[1, 2, 4, 4], [2, 3, 2, 2], [], [], [], [], [], [], []],
            ["", "", "", "[2, 2]", "[0, 0]", "[1, 1]", "True", "[0, 0]", "1"], 2 * 32 * 12, 32 + 24 + 3 * 64,
        ),
        # of the input alone, of the weight alone, and of both, which read the gradient once
        ("aten::convolution_backward", [[1, 4, 6], [1, 2, 6], [4, 2, 1]], [*BACKWARD, "[True, False, False]"], 96, 44),
        ("aten::convolution_backward", [[1, 4, 6], [1, 2, 6], [4, 2, 1]], [*BACKWARD, "[False, True, False]"], 96, 44),
        ("aten::convolution_backward", [[1, 4, 6], [1, 2, 6], [4, 2, 1]], [*BACKWARD, "[True, True, True]"], 192, 64),
        (
            "aten::_scaled_dot_product_flash_attention", [[2, 4, 10, 8], [2, 4, 12, 8], [2, 4, 12, 8]], [],
            2 * 2 * 4 * 10 * 12 * 16, 8 * (80 + 96 + 96 + 80),
        ),
    ],
)  # fmt: skip
def test_shapes_tell_flops_and_bytes(
    name: str, shapes: list[Any], values: list[str], flops: int, elements: int
) -> None:
    """Two FLOPs a multiply-add; operands and results once each, by the size of their type."""
    assert work_of(name, args(shapes, values)) == (flops, 4 * elements, "fp32")
    half = work_of(name, args(shapes, values, "c10::BFloat16"))
    assert half == (flops, 2 * elements, "bf16")


@pytest.mark.parametrize(
    ("name", "shapes", "values"),
    [
        ("aten::mm", [], []),
        ("aten::mm", [[2, 3], [4, 5]], []),
        ("aten::mm", [[2, 3], []], []),
        ("aten::mm", [[2, "3"], [3, 5]], []),
        ("aten::mm", [[-2, 3], [3, 5]], []),
        ("aten::mm", [[2**62, 3], [3, 2**62]], []),
        ("aten::mm", [[1] * 100, [1] * 100], []),
        ("aten::mm", {"a": 1}, []),
        ("aten::convolution", [[1, 3, 8, 8], [4, 3, 3, 3]], []),
        ("aten::convolution", [[1, 3, 8, 8], [4, 3, 3, 3]], ["", "", "", "[0]", "[0]", "[1]", "False", "[0]", "1"]),
        ("aten::convolution", [[1, 3, 8, 8], [4, 3, 3, 3]], ["", "", "", "[x]", "[0]", "[1]", "False", "[0]", "1"]),
        ("aten::convolution_backward", [[1, 4, 6], [1, 2, 6], [4, 2, 1]], [*BACKWARD, "[False, False, True]"]),
        ("aten::convolution_backward", [[1, 4, 6], [1, 2, 6], [4, 2, 1]], BACKWARD),
    ],
)
def test_what_shapes_do_not_tell_is_unknown(name: str, shapes: Any, values: list[str]) -> None:
    """No shape, no sense, no strides, or nothing that fits the store: no figure, and no error."""
    assert work_of(name, args(shapes, values)) is None


def test_text_that_is_no_json_list_is_unknown() -> None:
    """Shapes that are a number, torn, or nested without sense are no shapes."""
    for text in (b"7", b"null", b'"[2, 3]"', b"[[2, 3]", b"[" * 9999 + b"]" * 9999):
        assert work_of("aten::mm", Args(dims=Raw(text))) is None


def shaped(name: str, start: float, lasting: float, thread: int = 8) -> dict[str, Any]:
    """An operator of (1000, 1000) x (1000, 1000) in float32: 2 GFLOP and 12 MB."""
    told = {"Input Dims": [[1000, 1000], [1000, 1000]], "Input type": ["float", "float"], "Concrete Inputs": ["", ""]}
    return OP | {"name": name, "ts": start, "dur": lasting, "tid": thread, "args": told}


def launched(correlation: int, start: float, lasting: float, name: str = "volta_sgemm") -> list[dict[str, Any]]:
    """A launch at `start` and its kernel of so many us."""
    ids = IDS | {"correlation": correlation}
    kernel = KERNEL | {"name": name, "ts": start + 100, "dur": lasting, "args": ids | {"device": 0, "stream": 7}}
    return [LAUNCH | {"ts": start, "dur": 1, "args": ids}, kernel]


def parts(folder: Path, *events: dict[str, Any], members: Any = V100) -> list[RooflinePart]:
    """The roofline of these events."""
    with read(write(folder, {"traceEvents": list(events), **members})) as connection:
        return rooflines(connection)


def test_an_operator_s_time_is_that_of_the_kernels_it_launched(tmp_path: Path) -> None:
    """2 GFLOP in 200 us are 10 TFLOP/s, of the 15.7 of a V100: 167 FLOPs a byte are bound by compute."""
    other = launched(3, 50, 999)  # launched in no operator
    (part,) = parts(tmp_path, shaped("aten::mm", 10, 20), *launched(1, 12, 150), *launched(2, 14, 50), *other)
    assert (part.device, part.calls, part.kernels, part.ns) == ("0", 1, 2, 200_000)
    assert (part.flops, part.accessed_bytes, part.precision) == (2 * 10**9, 12 * 10**6, "fp32")
    assert part.flops_per_s == pytest.approx(10e12)
    assert (part.bound_by, part.ceiling_flops_per_s) == ("compute", pytest.approx(15.7e12))
    assert part.of_ceiling == pytest.approx(10 / 15.7)
    assert part.reason is None


def test_low_intensity_is_bound_by_memory(tmp_path: Path) -> None:
    """A product with one column does 0.5 FLOPs a byte, so 450 GFLOP/s at 900 GB/s are all that it may come to."""
    operator = shaped("aten::mm", 10, 20)
    operator["args"] |= {"Input Dims": [[1000, 1000], [1000, 1]]}
    (part,) = parts(tmp_path, operator, *launched(1, 12, 10))
    assert part.bound_by == "memory"
    assert part.ceiling_flops_per_s == pytest.approx(2e6 / (4 * 1_002_000 / 900e9))


def test_an_operator_inside_another_counts_once(tmp_path: Path) -> None:
    """The outer's FLOPs and all kernels of both, on its thread only."""
    inner, elsewhere = shaped("aten::mm", 11, 5), shaped("aten::mm", 11, 5, thread=9)
    found = parts(tmp_path, shaped("aten::mm", 10, 20), inner, elsewhere, *launched(1, 12, 100), *launched(2, 18, 100))
    assert [(part.calls, part.kernels, part.ns) for part in found] == [(1, 2, 200_000)]


def test_on_the_host_there_is_no_ceiling_but_a_reason(tmp_path: Path) -> None:
    """Without kernels the operator's own duration counts, and FLOP/s are told."""
    (part,) = parts(tmp_path, shaped("aten::mm", 10, 20), members={"deviceProperties": []})
    assert (part.device, part.kernels, part.ns, part.flops_per_s) == (None, 0, 20_000, 1e14)
    assert (part.ceiling_flops_per_s, part.of_ceiling, part.reason) == (None, None, NO_PEAK_OF_HOST)


@pytest.mark.parametrize(
    ("kernel", "name", "precision", "reason"),
    [
        ("ampere_sgemm_128x64_tn", "NVIDIA A100-SXM4-40GB", "fp32", None),
        ("sm80_xmma_gemm_f32f32_tf32f32_f32_tn", "NVIDIA A100-SXM4-40GB", "tf32", None),
        ("sm80_xmma_gemm_f32f32_tf32f32_f32_tn", "Tesla T4", "tf32", "Tesla T4's data sheet gives no peak"),
        ("ampere_sgemm_128x64_tn", "Acme 9000", "fp32", "no data sheet's peak is known of Acme 9000"),
    ],
)
def test_a_kernel_s_name_tells_tf32(tmp_path: Path, kernel: str, name: str, precision: str, reason: str | None) -> None:
    """float32 operands are held to TF32's peak where their kernel takes it, and to none that no data sheet gives."""
    members = {"deviceProperties": [{"id": 0, "name": name}]}
    (part,) = parts(tmp_path, shaped("aten::mm", 10, 20), *launched(1, 12, 150, kernel), members=members)
    assert part.precision == precision
    assert (part.ceiling_flops_per_s is None) == (reason is not None)
    assert part.reason is None if reason is None else (part.reason or "").startswith(reason)


@needs_traces
def test_resnet_18_s_convolutions_come_to_its_known_flops(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Five steps of 512 images of 224 x 224, whose convolutions are 1,813,561,344 multiply-adds an image.

    Backward is twice that, but for the gradient of the images, which nobody wants.
    """
    store = shared("kineto/mi300_ddp_resnet18.pt.trace.json.gz", tmp_path_factory)
    found = {part.operator: part for part in rooflines(store)}
    images, first = 5 * 512, 112 * 112 * 64 * 147
    assert found["aten::convolution"].flops == images * 2 * 1_813_561_344
    assert found["aten::convolution_backward"].flops == images * 2 * (2 * 1_813_561_344 - first)
    assert {part.precision for part in found.values()} == {"bf16"}


@needs_traces
@pytest.mark.parametrize(
    "name", ["mi300_ddp_resnet18", "mi300_owlv2", "mi300_bert_small", "mi300_timesformer", "v100_resnet50_steps_memory"]
)
def test_nothing_real_stands_above_its_roofline(tmp_path_factory: pytest.TempPathFactory, name: str) -> None:
    """Every operator of these traces stays under what device and memory allow, and each has a ceiling."""
    found = rooflines(shared(f"kineto/{name}.pt.trace.json.gz", tmp_path_factory))
    assert found
    for part in found:
        assert part.of_ceiling is not None
        assert 0 < part.of_ceiling < 1, part
