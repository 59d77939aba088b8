/* The driver's functions that torch and Triton call. All others of cuda.h are generated and answer "not supported". */
#include <cuda.h>

#include "device.h"

#include <dlfcn.h>

#include <cstdio>
#include <cstring>

using namespace fake;

#define ENTER_DRIVER() \
    Entry entry;       \
    if (entry) return (CUresult)entry.error

static char context, module;

static CUresult code(cudaError_t error) { return (CUresult)error; } /* the codes used here are the same */

EXPORT CUresult cuInit(unsigned) {
    ENTER_DRIVER();
    return devices().empty() ? CUDA_ERROR_NO_DEVICE : CUDA_SUCCESS;
}
EXPORT CUresult cuDriverGetVersion(int *out) {
    *out = CUDA_VERSION;
    return CUDA_SUCCESS;
}
EXPORT CUresult cuDeviceGetCount(int *out) {
    ENTER_DRIVER();
    *out = (int)devices().size();
    return CUDA_SUCCESS;
}
EXPORT CUresult cuDeviceGet(CUdevice *out, int index) {
    *out = index;
    return CUDA_SUCCESS;
}
EXPORT CUresult cuDeviceGetName(char *out, int size, CUdevice) {
    snprintf(out, size, "NVIDIA Fake 100");
    return CUDA_SUCCESS;
}
EXPORT CUresult cuDeviceGetUuid(CUuuid *out, CUdevice device) {
    cudaDeviceProp found;
    cudaError_t error = cudaGetDeviceProperties(&found, device);
    if (!error) *out = found.uuid;
    return code(error);
}
EXPORT CUresult cuDeviceTotalMem(size_t *out, CUdevice) {
    *out = total_bytes();
    return CUDA_SUCCESS;
}
EXPORT CUresult cuDeviceGetPCIBusId(char *out, int size, CUdevice device) {
    return code(cudaDeviceGetPCIBusId(out, size, device));
}
EXPORT CUresult cuDeviceGetAttribute(int *out, CUdevice_attribute attribute, CUdevice device) {
    switch (attribute) { /* what the runtime has no use for */
    case CU_DEVICE_ATTRIBUTE_MAX_REGISTERS_PER_BLOCK:
    case CU_DEVICE_ATTRIBUTE_MAX_REGISTERS_PER_MULTIPROCESSOR: *out = 65536; return CUDA_SUCCESS;
    case CU_DEVICE_ATTRIBUTE_CLOCK_RATE: *out = 1980000; return CUDA_SUCCESS;
    case CU_DEVICE_ATTRIBUTE_MEMORY_CLOCK_RATE: *out = 2619000; return CUDA_SUCCESS;
    case CU_DEVICE_ATTRIBUTE_GLOBAL_MEMORY_BUS_WIDTH: *out = 6144; return CUDA_SUCCESS;
    case CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_MULTIPROCESSOR: *out = 228 << 10; return CUDA_SUCCESS;
    default: return code(cudaDeviceGetAttribute(out, (cudaDeviceAttr)attribute, device));
    }
}
EXPORT CUresult cuDevicePrimaryCtxGetState(CUdevice, unsigned *flags, int *active) {
    if (flags) *flags = 0;
    if (active) *active = 1;
    return CUDA_SUCCESS;
}
EXPORT CUresult cuDevicePrimaryCtxRetain(CUcontext *out, CUdevice) {
    *out = (CUcontext)&context;
    return CUDA_SUCCESS;
}
EXPORT CUresult cuCtxGetCurrent(CUcontext *out) {
    *out = (CUcontext)&context;
    return CUDA_SUCCESS;
}
EXPORT CUresult cuCtxSetCurrent(CUcontext) { return CUDA_SUCCESS; }
EXPORT CUresult cuCtxGetDevice(CUdevice *out) {
    *out = current_index();
    return CUDA_SUCCESS;
}
EXPORT CUresult cuGetErrorString(CUresult error, const char **out) {
    *out = cudaGetErrorString((cudaError_t)error);
    return CUDA_SUCCESS;
}
EXPORT CUresult cuGetErrorName(CUresult error, const char **out) {
    *out = cudaGetErrorName((cudaError_t)error);
    return CUDA_SUCCESS;
}
EXPORT CUresult cuGetProcAddress(const char *name, void **out, int, cuuint64_t, CUdriverProcAddressQueryResult *status) {
    *out = dlsym(RTLD_DEFAULT, name);
    if (status) *status = *out ? CU_GET_PROC_ADDRESS_SUCCESS : CU_GET_PROC_ADDRESS_SYMBOL_NOT_FOUND;
    return *out ? CUDA_SUCCESS : CUDA_ERROR_NOT_FOUND;
}
EXPORT CUresult cuPointerGetAttribute(void *out, CUpointer_attribute attribute, CUdeviceptr pointer) {
    ENTER_DRIVER();
    if (!is_device_memory((void *)pointer)) return CUDA_ERROR_INVALID_VALUE;
    if (attribute == CU_POINTER_ATTRIBUTE_DEVICE_POINTER) *(CUdeviceptr *)out = pointer;
    else if (attribute == CU_POINTER_ATTRIBUTE_MEMORY_TYPE) *(unsigned *)out = CU_MEMORYTYPE_DEVICE;
    else return CUDA_ERROR_NOT_SUPPORTED;
    return CUDA_SUCCESS;
}

/* ---- modules and kernels that Triton compiled ---- */

EXPORT CUresult cuModuleLoadData(CUmodule *out, const void *) {
    *out = (CUmodule)&module;
    return CUDA_SUCCESS;
}
EXPORT CUresult cuModuleLoadDataEx(CUmodule *out, const void *image, unsigned, CUjit_option *, void **) {
    return cuModuleLoadData(out, image);
}
EXPORT CUresult cuModuleLoad(CUmodule *out, const char *) { return cuModuleLoadData(out, nullptr); }
EXPORT CUresult cuModuleUnload(CUmodule) { return CUDA_SUCCESS; }
EXPORT CUresult cuModuleGetFunction(CUfunction *out, CUmodule, const char *) {
    *out = (CUfunction)&module;
    return CUDA_SUCCESS;
}
EXPORT CUresult cuFuncGetAttribute(int *out, CUfunction_attribute attribute, CUfunction) {
    *out = attribute == CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK ? 1024 : attribute == CU_FUNC_ATTRIBUTE_NUM_REGS ? 32 : 0;
    return CUDA_SUCCESS;
}
EXPORT CUresult cuFuncSetAttribute(CUfunction, CUfunction_attribute, int) { return CUDA_SUCCESS; }
EXPORT CUresult cuFuncSetCacheConfig(CUfunction, CUfunc_cache) { return CUDA_SUCCESS; }
EXPORT CUresult cuOccupancyMaxActiveBlocksPerMultiprocessor(int *out, CUfunction, int, size_t) {
    *out = 8;
    return CUDA_SUCCESS;
}
EXPORT CUresult cuOccupancyMaxActiveClusters(int *out, CUfunction, const CUlaunchConfig *) {
    *out = 16;
    return CUDA_SUCCESS;
}
static CUresult start(CUstream stream) {
    ENTER_DRIVER();
    return code(launch(stream_of((cudaStream_t)stream), kernel_ns(), "a kernel of Triton"));
}
EXPORT CUresult cuLaunchKernel(CUfunction, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned,
                               CUstream stream, void **, void **) {
    return start(stream);
}
EXPORT CUresult cuLaunchCooperativeKernel(CUfunction, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned,
                                          unsigned, CUstream stream, void **) {
    return start(stream);
}
EXPORT CUresult cuLaunchKernelEx(const CUlaunchConfig *config, CUfunction, void **, void **) {
    return start(config->hStream);
}
