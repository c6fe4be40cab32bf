"""The one table of kernel categories: what it knows, and that no rule is dead."""

import json

import pytest

from tests.stores import shared
from tests.test_device_time import EXPECTED, FIGURES
from toolkit.analyses.device_time import device_time
from toolkit.ingest.categories import OTHER, kernel_category, own_name, rules

XPLANE_GPUS = [
    file
    for file, planes in FIGURES.get("xplane", {}).items()
    if any(plane.startswith("/device:GPU") for plane in planes)
]
CATEGORIES = {
    "gemm", "conv", "norm", "pool", "attention", "reduce", "elementwise", "optimizer", "embedding", "memcpy", "memset",
    "communication", "fused", "other",
}  # fmt: skip

KERNELS = {
    "ncclDevKernel_AllReduce_Sum_f32_RING_LL(ncclDevKernelArgsStorage<4096ul>)": "communication",
    "void vllm::cross_device_reduce_1stage<__half, 8>(vllm::RankData*, vllm::RankSignals)": "communication",
    "__amd_rocclr_copyBuffer": "memcpy",
    "__amd_rocclr_fillBufferAligned": "memset",
    "void at::native::(anonymous namespace)::multi_tensor_apply_kernel<FusedAdamMathFunctor<float>>()": "optimizer",
    "triton_poi_fused_add_relu_0": "fused",
    "loop_add_fusion_3": "fused",
    "void flash_fwd_kernel<Flash_fwd_kernel_traits<64, 128, 128, 4>>(Flash_fwd_params)": "attention",
    "void at::native::(anonymous namespace)::vectorized_layer_norm_kernel<float, float>(int)": "norm",
    "void cudnn::bn_fw_tr_1C11_singleread<float, 512, true, 1, 2, 0>()": "norm",
    "void at::native::(anonymous namespace)::max_pool_forward_nchw<float, float>(int)": "pool",
    "sm80_xmma_fprop_implicit_gemm_indexed_tf32f32_tf32f32_f32_nhwckrsc_nchw": "conv",
    "void cutlass_cudnn_infer::Kernel<cutlass_tensorop_s1688fprop_optimized_tf32>()": "conv",
    "void cutlass::Kernel<cutlass_80_tensorop_s1688gemm_256x64_16x4_nn_align4>()": "gemm",
    "Cijk_Ailk_Bljk_BBS_BH_Bias_HA_S_SAV_UserArgs_MT32x32x128": "gemm",
    "bmm_Bfloat16_MxE2m1MxE4m3_Fp32_biasM_bN_tmaOpt_sm100f": "gemm",
    "void at::native::(anonymous namespace)::indexSelectLargeIndex<float, long>()": "embedding",
    "void at::native::reduce_kernel<512, 1, at::native::ReduceOp<float, at::native::NormTwoOps<float>>>()": "reduce",
    "void (anonymous namespace)::softmax_warp_forward<float, float, float, 10, true>()": "reduce",
    "void at::native::vectorized_elementwise_kernel<4, at::native::reduce_like_functor>(int)": "elementwise",
    "SubTensorOpWithScalar1d": "elementwise",
    "void Eigen::internal::EigenMetaKernel<TensorAssignOp<TensorConversionOp<half, float>>>()": "elementwise",
    "void Eigen::internal::EigenMetaKernel<TensorAssignOp<TensorCwiseUnaryOp<inverse<float>>>>()": "elementwise",
    "void Eigen::internal::FullReductionKernel<SumReducer<float>, TensorConversionOp<float, half const>>()": "reduce",
    "my_own_kernel": "other",
}


@pytest.mark.parametrize(("name", "category"), KERNELS.items(), ids=str)
def test_a_kernel_falls_into_its_category(name: str, category: str) -> None:
    """A kernel's own name decides before its template arguments, which often name other operations."""
    assert kernel_category(name) == category


def test_the_table_names_only_known_categories() -> None:
    """Every rule's category is one of those that reports know, and says what it covers."""
    assert {rule.category for rule in rules()} | {OTHER} == CATEGORIES
    assert all(rule.what for rule in rules())


def test_own_name_leaves_out_what_surrounds_it() -> None:
    """Return type, anonymous namespaces, template arguments and parameters do not belong to a function's own name."""
    assert own_name("void at::native::(anonymous namespace)::f<int, (g)1>(int (*)(int))") == "at::native::f"
    assert own_name("plain") == "plain"


@pytest.mark.parametrize("file", [file for file, devices in EXPECTED.items() if devices])
def test_hardly_any_kernel_time_is_other(file: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    """On each shared GPU trace at most one twentieth of the kernel time is in no category."""
    for device in device_time(shared(file, tmp_path_factory)):
        assert device.categories.get(OTHER, 0) * 20 <= device.kernel_sum_ns, json.dumps(device.categories)


@pytest.mark.parametrize("file", XPLANE_GPUS)
def test_hardly_any_kernel_time_of_tensorflow_and_jax_is_other(
    file: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """On each shared GPU trace at most one twentieth of the kernel time is in no category."""
    store = shared(file, tmp_path_factory)
    kernels = store.execute("SELECT sum(dur_ns), sum(dur_ns) FILTER (category = $1) FROM slices", [OTHER])
    whole_ns, other_ns = kernels.fetchall()[0]
    assert (other_ns or 0) * 20 <= whole_ns
