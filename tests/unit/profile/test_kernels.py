import pytest
from fakes import traces

from gpubench.profile.figures.kernel_names import kernel_class, uses_tensor_cores

NAMES = [
    # name, class, tensor cores
    ("ampere_bf16_s16816gemm_bf16_128x64_ldg8_f2f_stages_64x4_nn", "gemm", "yes"),
    ("ampere_fp16_s16816gemm_fp16_256x128_ldg8_relu_f2f_stages_64x3_tn", "gemm", "yes"),
    ("turing_fp16_s1688gemm_fp16_128x128_ldg8_f2f_nn", "gemm", "yes"),
    ("turing_h1688gemm_128x128_ldg8_stages_32x1_tn", "gemm", "yes"),
    ("volta_fp16_s884gemm_fp16_128x128_ldg8_f2f_nn", "gemm", "yes"),
    ("volta_h884gemm_64x128_ldg8_tn", "gemm", "yes"),
    ("nvjet_tst_128x256_64x4_2x1_v_bz_coopA_TNN", "gemm", "yes"),
    ("nvjet_hsh_256x128_64x4_1x2_h_bz_coopB_NNT", "gemm", "yes"),
    (
        "sm80_xmma_gemm_bf16bf16_bf16f32_f32_tn_n_tilesize128x128x32_stage4_warpsize2x2x1_tensor16x8x16_kernel",
        "gemm",
        "yes",
    ),
    (
        (
            "sm80_xmma_gemm_f32f32_f32f32_f32_tn_n_tilesize64x64x8_stage3_warpsize1x4x1_ffma_aligna4_alignc4_exec"
            "ute_kernel__5x_cublas"
        ),
        "gemm",
        "no",
    ),
    (
        (
            "void cutlass::Kernel2<cutlass_80_tensorop_s1688gemm_128x128_16x5_tn_align4>(cutlass_80_tensorop_s168"
            "8gemm::Params)"
        ),
        "gemm",
        "yes",
    ),
    ("void cutlass::Kernel2<cutlass_80_simt_sgemm_128x128_8x4_nn_align1>(Params)", "gemm", "no"),
    (
        "void cutlass::Kernel2<cutlass_80_wmma_tensorop_bf16_s161616gemm_bf16_16x16_128x2_tn_align8>(Params)",
        "gemm",
        "yes",
    ),
    (
        (
            "void cutlass::device_kernel<cutlass::gemm::kernel::GemmUniversal<cutlass::gemm::collective::Collecti"
            "veMma<MainloopSm90TmaGmmaWarpSpecialized<4> > > >()"
        ),
        "gemm",
        "yes",
    ),
    ("ampere_sgemm_128x64_tn", "gemm", "no"),
    ("volta_sgemm_64x32_sliced1x4_nn", "gemm", "no"),
    ("maxwell_fp16_sgemm_fp16_128x64_tn", "gemm", "no"),
    (
        "void gemv2T_kernel_val<int, int, float, float, float, float, 128, 16, 4, 4, false, false>(cublasGemvParamsEx)",
        "gemm",
        "no",
    ),
    ("void gemvNSP_kernel<float, float, float, float, 1, 32, 4, 1024>(cublasGemvParamsEx)", "gemm", "no"),
    (
        (
            "void cublasLt::splitKreduce_kernel<32, 16, int, float, __nv_bfloat16, "
            "float>(cublasLt::cublasSplitKParams<float>)"
        ),
        "gemm",
        "no",
    ),
    ("gemmSN_TN_kernel_half<256, 4, 2, 8, 2, 4, false, cublasGemvTensorStridedBatched<__half const> >", "gemm", "no"),
    (
        (
            "sm90_xmma_fprop_implicit_gemm_bf16bf16_bf16f32_f32_nhwckrsc_nhwc_tilesize128x128x64_warpgroupsize1x1"
            "x1_g1_execute_segment_k_off_kernel__5x_cudnn"
        ),
        "conv",
        "yes",
    ),
    (
        (
            "sm80_xmma_fprop_implicit_gemm_tf32f32_tf32f32_f32_nhwckrsc_nchw_tilesize128x128x16_stage4_warpsize2x"
            "2x1_g1_tensor16x8x8_kernel_cudnn"
        ),
        "conv",
        "yes",
    ),
    (traces.CONV, "conv", "no"),
    (
        (
            "void cutlass__5x_cudnn::Kernel<cutlass_tensorop_bf16_s16816fprop_optimized_bf16_128x64_32x5_nhwc_ali"
            "gn8>(Params)"
        ),
        "conv",
        "yes",
    ),
    ("ampere_scudnn_128x64_relu_medium_nn_v1", "conv", "no"),
    (
        "void implicit_convolve_sgemm<float, float, 1024, 5, 5, 3, 3, 3, 1, false, false, true>(int, int, int)",
        "conv",
        "no",
    ),
    ("void cudnn::winograd_nonfused::winogradForwardData4x4<float, float>(Params)", "conv", "no"),
    ("void at::native::(anonymous namespace)::conv_depthwise2d_forward_kernel<3, float, int>(Tensor)", "conv", "no"),
    (
        "void cudnn::ops::nchwToNhwcKernel<__half, __half, float, false, true, (cudnnKernelDataType_t)0>(Params)",
        "layout",
        "no",
    ),
    ("void cudnn::bn_fw_tr_1C11_singleread<float, 512, true, 1, 2, 0>(cudnnTensorStruct)", "norm", "no"),
    (
        "void at::native::batch_norm_collect_statistics_channels_last_kernel<at::native::Var, float>(float)",
        "norm",
        "no",
    ),
    ("void at::native::(anonymous namespace)::vectorized_layer_norm_kernel<float, float>(int)", "norm", "no"),
    (traces.ADAM, "optimizer", "no"),
    ("void at::native::(anonymous namespace)::max_pool_forward_nchw<float, float>(int)", "pool", "no"),
    ("void at::native::(anonymous namespace)::max_pool_backward_nhwc<c10::BFloat16, float>(int)", "pool", "no"),
    ("void (anonymous namespace)::softmax_warp_forward<float, float, float, 10, true, false>(float*)", "softmax", "no"),
    (
        "void at::native::(anonymous namespace)::nll_loss_forward_reduce_cuda_kernel_2d<float, float, long>(float*)",
        "softmax",
        "no",
    ),
    (traces.STRAY, "reduce", "no"),
    (traces.LOSS, "elementwise", "no"),
    (
        (
            "void at::native::unrolled_elementwise_kernel<at::native::direct_copy_kernel_cuda(at::TensorIteratorB"
            "ase&)::{lambda()#3}>(int)"
        ),
        "copy",
        "no",
    ),
    (
        "void at::native::(anonymous namespace)::CatArrayBatchedCopy<float, unsigned int, 1, 64, 64>(float*)",
        "copy",
        "no",
    ),
    (
        (
            "void at::native::vectorized_elementwise_kernel<4, at::native::FillFunctor<float>, std::array<char*, 1ul> "
            ">(int)"
        ),
        "fill",
        "no",
    ),
    (
        "void at::native::(anonymous namespace)::distribution_elementwise_grid_stride_kernel<float, 4, philox>(long)",
        "random",
        "no",
    ),
    ("void at::native::vectorized_gather_kernel<16, long>(char*)", "embedding", "no"),
    (traces.NCCL, "comm", "no"),
    ("triton_poi_fused__native_batch_norm_legit_functional_relu_3", "triton", "unknown"),
    ("triton_tem_fused_mm_0", "triton", "unknown"),
    ("void flash::flash_fwd_kernel<Flash_fwd_kernel_traits<64, 128, 128, 4> >(Flash_fwd_params)", "attention", "yes"),
    ("fmha_cutlassF_bf16_aligned_64x64_rf_sm80(PyTorchMemEffAttention)", "attention", "yes"),
    (
        "cudnn_generated_fort_native_sdpa_sm90_flash_fprop_wgmma_f16_knob_31_64x128x64_4x1x1_kernel0_0",
        "attention",
        "yes",
    ),
    ("Cijk_Ailk_Bljk_HHS_BH_MT128x128x16_MI16x16x16x1_SN_1LDSB0_APM1_ABV0_ACED0_K1_TT4_32_WG16_16_1", "gemm", "yes"),
    ("Cijk_Alik_Bljk_SB_Bias_AS_SAV_UserArgs_MT64x16x32_MI16x16x1_SN_LDSB0_ISA90a_WG64_4_1", "gemm", "yes"),
    ("Cijk_Ailk_Bljk_SB_MT16x16x16_SE_AF0EM1_AMAS2_ISA000_K1_TT2_2_USFGRO0_WG8_8_1", "gemm", "no"),
    ("Custom_Cijk_Ailk_Bljk_F8NH_HHS_BH_Bias_AS_SAB_SAV_shortname0_gfx942", "gemm", "unknown"),
    ("igemm_fwd_gtcx_nhwc_bf16_bx0_ex1_bt256x128x32_wt32x32x8_ws1x1_wr2x2", "conv", "yes"),
    ("miopenSp3AsmConv_v30_3_1_gfx9_fp32_f2x3_stride1", "conv", "no"),
    (
        (
            "void split_embedding_backward_codegen_rowwise_adagrad_unweighted_kernel_warp_per_row_1<c10::Half, float>"
            "(fbgemm_gpu::Params)"
        ),
        "embedding",
        "no",
    ),
    (
        "void split_embedding_codegen_forward_weighted_kernel<c10::Half, float, false, long, 2ul>(int)",
        "embedding",
        "no",
    ),
    ("void fbgemm_gpu::permute_2D_data_kernel<false, int, int, decltype(nullptr)>(int, int, int)", "embedding", "no"),
    ("void fbgemm_gpu::(anonymous namespace)::_FP8rowwise_to_float_cuda_kernel<float>(int)", "elementwise", "no"),
    (
        "void at::native::vectorized_elementwise_kernel<4, fbgemm_gpu::_hfp8_to_float_gpu(at::Tensor const&)>(int)",
        "elementwise",
        "no",
    ),
    ("void cask_cudnn_infer::computeOffsetsKernel<false, false>(cask_cudnn_infer::Params)", "conv", "no"),
    ("my_own_thing", "other", "no"),
]


@pytest.mark.parametrize(("name", "expected", "_"), NAMES)
def test_kernels_are_classed_by_name(name, expected, _):
    assert kernel_class(name) == expected


@pytest.mark.parametrize(("name", "_", "expected"), NAMES)
def test_tensor_cores_are_told_by_name(name, _, expected):
    assert uses_tensor_cores(name) == expected


@pytest.mark.parametrize("part", ["ffma", "simt", "sgemm", "gemv"])
def test_these_names_never_count_as_tensor_core(part):
    assert uses_tensor_cores(f"sm80_xmma_gemm_bf16bf16_{part}_tensor16x8x16_kernel") == "no"
