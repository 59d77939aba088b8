/* cuBLAS and cuDNN: handles, and products and convolutions that do nothing. What is not here is the real library's, which
 * needs no device for its descriptors. */
#include "device.h"

#include <cstring>
#include <map>
#include <time.h>

using namespace fake;

enum { BLAS_OK = 0, BLAS_FAILED = 13, DNN_OK = 0, DNN_FAILED = 5000 };
static const long long PRODUCT_NS = 8000, CONVOLUTION_NS = 20000;

/* ---- cuBLAS ---- */

struct Blas {
    cudaStream_t stream;
    int pointer_mode, math_mode;
};

EXPORT int cublasCreate_v2(void **out) {
    Entry entry;
    if (entry) return BLAS_FAILED;
    if (unsafe("cublasCreate")) return BLAS_FAILED;
    *out = new Blas{};
    return BLAS_OK;
}
EXPORT int cublasDestroy_v2(void *handle) {
    delete (Blas *)handle;
    return BLAS_OK;
}
EXPORT int cublasSetStream_v2(void *handle, cudaStream_t stream) {
    ((Blas *)handle)->stream = stream;
    return BLAS_OK;
}
EXPORT int cublasSetWorkspace_v2(void *handle, void *workspace, size_t) {
    Entry entry;
    if (entry) return BLAS_FAILED;
    uses_workspace(stream_of(((Blas *)handle)->stream), workspace);
    return BLAS_OK;
}
EXPORT int cublasSetMathMode(void *handle, int mode) {
    ((Blas *)handle)->math_mode = mode;
    return BLAS_OK;
}
EXPORT int cublasGetMathMode(void *handle, int *out) {
    *out = ((Blas *)handle)->math_mode;
    return BLAS_OK;
}
EXPORT int cublasSetPointerMode_v2(void *handle, int mode) {
    ((Blas *)handle)->pointer_mode = mode;
    return BLAS_OK;
}
EXPORT int cublasGetPointerMode_v2(void *handle, int *out) {
    *out = ((Blas *)handle)->pointer_mode;
    return BLAS_OK;
}
EXPORT int cublasSetSmCountTarget(void *, int) { return BLAS_OK; }

static int product(cudaStream_t stream, const char *name) {
    Entry entry;
    return entry || launch(stream_of(stream), PRODUCT_NS, name) ? BLAS_FAILED : BLAS_OK;
}
#define PRODUCT(function) \
    EXPORT int function(void *handle, ...) { return product(((Blas *)handle)->stream, #function); }
PRODUCT(cublasSgemm_v2)
PRODUCT(cublasDgemm_v2)
PRODUCT(cublasGemmEx)
PRODUCT(cublasSgemmEx)
PRODUCT(cublasGemmStridedBatchedEx)
PRODUCT(cublasSgemmStridedBatched)
PRODUCT(cublasDgemmStridedBatched)
PRODUCT(cublasSgemv_v2)
PRODUCT(cublasDgemv_v2)
PRODUCT(cublasSdot_v2)
PRODUCT(cublasDdot_v2)
PRODUCT(cublasDotEx)

EXPORT int cublasLtMatmulAlgoGetHeuristic(void *, void *, void *, void *, void *, void *, void *, int, void *result,
                                          int *num_results) {
    memset(result, 0, 96); /* one cublasLtMatmulHeuristicResult_t: success, no workspace */
    *num_results = 1;
    return BLAS_OK;
}
EXPORT int cublasLtMatmul(void *, void *, const void *, const void *, void *, const void *, void *, const void *,
                          const void *, void *, void *, void *, const void *, void *workspace, size_t,
                          cudaStream_t stream) {
    Entry entry;
    if (entry) return BLAS_FAILED;
    uses_workspace(stream_of(stream), workspace);
    return product(stream, "cublasLtMatmul");
}

/* ---- cuDNN: one engine without a workspace ---- */

struct Dnn {
    cudaStream_t stream;
};

EXPORT int cudnnCreate(void **out) {
    timespec time{(time_t)setting("FAKE_CUDNN_START_S", 0), 0};
    nanosleep(&time, nullptr);
    Entry entry;
    if (entry) return DNN_FAILED;
    *out = new Dnn{};
    return DNN_OK;
}
EXPORT int cudnnDestroy(void *handle) {
    delete (Dnn *)handle;
    return DNN_OK;
}
EXPORT int cudnnSetStream(void *handle, cudaStream_t stream) {
    ((Dnn *)handle)->stream = stream;
    return DNN_OK;
}
EXPORT int cudnnGetStream(void *handle, cudaStream_t *out) {
    *out = ((Dnn *)handle)->stream;
    return DNN_OK;
}
static int execute(void *handle, const char *name) {
    Entry entry;
    return entry || launch(stream_of(((Dnn *)handle)->stream), CONVOLUTION_NS, name) ? DNN_FAILED : DNN_OK;
}

enum { DNN_INT64 = 3, DNN_DESCRIPTOR = 15 }; /* cudnnBackendAttributeType_t */

EXPORT int cudnnBackendCreateDescriptor(int, void **out) {
    *out = new char;
    return DNN_OK;
}
EXPORT int cudnnBackendDestroyDescriptor(void *descriptor) {
    delete (char *)descriptor;
    return DNN_OK;
}
EXPORT int cudnnBackendFinalize(void *) { return DNN_OK; }
EXPORT int cudnnBackendSetAttribute(void *, int, int, long, const void *) { return DNN_OK; }
EXPORT int cudnnBackendGetAttribute(void *, int, int type, long num_asked, long *num_found, void *out) {
    long num = 0;
    if (!out) num = 1;
    else if (type == DNN_DESCRIPTOR) num = num_asked < 1 ? num_asked : 1;
    else if (type == DNN_INT64) memset(out, 0, 8 * (num = num_asked));
    if (num_found) *num_found = num;
    return DNN_OK;
}
EXPORT int cudnnBackendExecute(void *handle, void *, void *) { return execute(handle, "cudnnBackendExecute"); }

#define EXECUTE(function) \
    EXPORT int function(void *handle, ...) { return execute(handle, #function); }
EXECUTE(cudnnBatchNormalizationForwardTrainingEx)
EXECUTE(cudnnBatchNormalizationForwardInference)
EXECUTE(cudnnBatchNormalizationBackwardEx)
EXECUTE(cudnnPoolingForward)

EXPORT int cudnnGetBatchNormalizationForwardTrainingExWorkspaceSize(void *, int, int, void *, void *, void *, void *,
                                                                    void *, size_t *out) {
    *out = 0;
    return DNN_OK;
}
EXPORT int cudnnGetBatchNormalizationBackwardExWorkspaceSize(void *, int, int, void *, void *, void *, void *, void *,
                                                             void *, void *, size_t *out) {
    *out = 0;
    return DNN_OK;
}
EXPORT int cudnnGetBatchNormalizationTrainingExReserveSpaceSize(void *, int, int, void *, void *, size_t *out) {
    *out = 0;
    return DNN_OK;
}
