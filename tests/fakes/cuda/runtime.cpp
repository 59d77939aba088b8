/* The CUDA runtime that torch calls: devices, memory, kernels, streams, events and graphs. */
#include "device.h"

#include <dlfcn.h>
#include <sys/mman.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>

using namespace fake;

namespace fake {
std::set<Capture *> captures;
}

struct Graph {
    long num_nodes;
    std::set<void *> workspaces;
};

struct Block {
    size_t bytes;
    int device;
};

static const size_t CONTEXT_BYTES = 500u << 20;
static const size_t COPIED_AT_MOST = 64u << 20, COPIED_ON_DEVICE_AT_MOST = 1u << 20;

static std::map<const void *, std::string> kernel_names;
static std::map<char *, Block> device_blocks, host_blocks;
static std::set<Graph *> executables;
static unsigned long long num_captures;

/* ---- kernels: registered by torch's libraries when they are loaded ---- */

EXPORT void **__cudaRegisterFatBinary(void *) {
    static void *handle[4];
    return handle;
}
EXPORT void __cudaRegisterFatBinaryEnd(void **) {}
EXPORT void __cudaUnregisterFatBinary(void **) {}
EXPORT void __cudaRegisterVar(void **, char *, char *, const char *, int, size_t, int, int) {}
EXPORT void __cudaRegisterFunction(void **, const char *host, char *, const char *name, int, void *, void *, void *,
                                   void *, int *) {
    kernel_names[host] = name;
}

struct Configuration {
    dim3 grid, block;
    size_t shared;
    cudaStream_t stream;
};
static thread_local std::vector<Configuration> configurations;

EXPORT unsigned __cudaPushCallConfiguration(dim3 grid, dim3 block, size_t shared, cudaStream_t stream) {
    configurations.push_back({grid, block, shared, stream});
    return 0;
}
EXPORT cudaError_t __cudaPopCallConfiguration(dim3 *grid, dim3 *block, size_t *shared, void *stream) {
    Configuration last = configurations.back();
    configurations.pop_back();
    *grid = last.grid;
    *block = last.block;
    *shared = last.shared;
    *(cudaStream_t *)stream = last.stream;
    return cudaSuccess;
}

static cudaError_t start(const void *function, dim3 grid, dim3 block, void **arguments, cudaStream_t stream) {
    ENTER();
    const std::string &name = kernel_names[function];
    unsigned long long threads = (unsigned long long)block.x * block.y * block.z;
    bool legal = grid.x && grid.y && grid.z && threads && grid.x <= 2147483647u && grid.y <= 65535 && grid.z <= 65535;
    if (!legal || threads > 1024) {
        complain("a kernel of an impossible size", name);
        return fail(cudaErrorInvalidConfiguration);
    }
    bool spins = name.find("spin_kernel") != std::string::npos; /* torch.cuda._sleep: cycles at 1.5 GHz */
    return launch(stream_of(stream), spins ? (long long)(*(long long *)arguments[0] / 1.5) : kernel_ns(), name.c_str());
}

EXPORT cudaError_t cudaLaunchKernel(const void *function, dim3 grid, dim3 block, void **arguments, size_t,
                                    cudaStream_t stream) {
    return start(function, grid, block, arguments, stream);
}
EXPORT cudaError_t __cudaLaunchKernel(cudaKernel_t kernel, dim3 grid, dim3 block, void **arguments, size_t,
                                      cudaStream_t stream) {
    return start((const void *)kernel, grid, block, arguments, stream);
}
EXPORT cudaError_t cudaLaunchKernelExC(const cudaLaunchConfig_t *config, const void *function, void **arguments) {
    return start(function, config->gridDim, config->blockDim, arguments, config->stream);
}
EXPORT cudaError_t __cudaGetKernel(cudaKernel_t *kernel, const void *function) {
    *kernel = (cudaKernel_t)function;
    return cudaSuccess;
}
EXPORT cudaError_t cudaFuncSetAttribute(const void *, cudaFuncAttribute, int) { return cudaSuccess; }
EXPORT cudaError_t cudaFuncGetAttributes(cudaFuncAttributes *out, const void *) {
    memset(out, 0, sizeof *out);
    out->maxThreadsPerBlock = 1024;
    out->numRegs = 32;
    out->ptxVersion = out->binaryVersion = capability();
    out->maxDynamicSharedSizeBytes = 48 << 10;
    return cudaSuccess;
}
EXPORT cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(int *out, const void *, int, size_t, unsigned) {
    *out = 8;
    return cudaSuccess;
}
EXPORT cudaError_t cudaGetSymbolAddress(void **out, const void *) {
    static char symbol[1 << 16];
    *out = symbol;
    return cudaSuccess;
}
EXPORT cudaError_t cudaMemcpyToSymbol(const void *, const void *, size_t, size_t, cudaMemcpyKind) { return cudaSuccess; }

EXPORT cudaError_t cudaLaunchHostFunc(cudaStream_t stream, cudaHostFn_t function, void *argument) {
    ENTER();
    if (stream_of(stream)->capture) return enqueue(stream_of(stream), 0, "a host function");
    function(argument);
    return cudaSuccess;
}
EXPORT cudaError_t cudaStreamAddCallback(cudaStream_t stream, cudaStreamCallback_t function, void *argument, unsigned) {
    ENTER();
    if (auto error = unsafe("cudaStreamAddCallback")) return error;
    function(stream, cudaSuccess, argument);
    return cudaSuccess;
}

/* ---- devices ---- */

EXPORT cudaError_t cudaGetDeviceCount(int *out) {
    ENTER();
    *out = (int)devices().size();
    return *out ? cudaSuccess : fail(cudaErrorNoDevice);
}
EXPORT cudaError_t cudaGetDevice(int *out) {
    ENTER();
    *out = current_index();
    return cudaSuccess;
}
EXPORT cudaError_t cudaSetDevice(int device) {
    ENTER();
    if (device < 0 || device >= (int)devices().size()) return fail(cudaErrorInvalidDevice);
    select(device);
    return cudaSuccess;
}
EXPORT cudaError_t cudaDeviceSynchronize() {
    long long at = 0;
    {
        ENTER();
        if (auto error = unsafe("cudaDeviceSynchronize")) return error;
        at = current().default_stream.free_at;
        for (Stream *stream : current().streams)
            if (stream->free_at > at) at = stream->free_at;
    }
    sleep_until(at);
    return cudaSuccess;
}
EXPORT cudaError_t cudaDriverGetVersion(int *out) {
    *out = CUDART_VERSION;
    return cudaSuccess;
}
EXPORT cudaError_t cudaRuntimeGetVersion(int *out) {
    *out = CUDART_VERSION;
    return cudaSuccess;
}
EXPORT cudaError_t cudaGetDeviceProperties(cudaDeviceProp *out, int device) {
    ENTER();
    if (device < 0 || device >= (int)devices().size()) return fail(cudaErrorInvalidDevice);
    const Device &card = devices()[device];
    memset(out, 0, sizeof *out);
    snprintf(out->name, sizeof out->name, "NVIDIA Fake 100");
    const char *digit = card.uuid.c_str();
    for (int i = 0; i < 16; i++) {
        if (*digit == '-') digit++;
        unsigned byte;
        sscanf(digit, "%2x", &byte);
        out->uuid.bytes[i] = (char)byte;
        digit += 2;
    }
    out->major = capability() / 10;
    out->minor = capability() % 10;
    out->totalGlobalMem = total_bytes();
    out->multiProcessorCount = 132;
    out->warpSize = 32;
    out->maxThreadsPerBlock = out->maxThreadsDim[0] = out->maxThreadsDim[1] = 1024;
    out->maxThreadsDim[2] = 64;
    out->maxGridSize[0] = 2147483647;
    out->maxGridSize[1] = out->maxGridSize[2] = 65535;
    out->maxThreadsPerMultiProcessor = 2048;
    out->maxBlocksPerMultiProcessor = 32;
    out->l2CacheSize = 60 << 20;
    out->sharedMemPerBlock = 48 << 10;
    out->sharedMemPerBlockOptin = 227 << 10;
    out->sharedMemPerMultiprocessor = 228 << 10;
    out->regsPerBlock = out->regsPerMultiprocessor = 65536;
    out->totalConstMem = 65536;
    out->textureAlignment = 512;
    out->memoryBusWidth = 6144;
    out->asyncEngineCount = 3;
    out->concurrentKernels = out->unifiedAddressing = out->canMapHostMemory = out->managedMemory = 1;
    out->pciBusID = 0x41 + card.number; /* the first is where the fake NVML has its card */
    return cudaSuccess;
}
EXPORT cudaError_t cudaDeviceGetAttribute(int *out, cudaDeviceAttr attribute, int device) {
    cudaDeviceProp found;
    if (auto error = cudaGetDeviceProperties(&found, device)) return error;
    switch (attribute) {
    case cudaDevAttrMultiProcessorCount: *out = found.multiProcessorCount; break;
    case cudaDevAttrMaxThreadsPerBlock: *out = found.maxThreadsPerBlock; break;
    case cudaDevAttrMaxSharedMemoryPerBlock: *out = (int)found.sharedMemPerBlock; break;
    case cudaDevAttrMaxSharedMemoryPerBlockOptin: *out = (int)found.sharedMemPerBlockOptin; break;
    case cudaDevAttrMaxThreadsPerMultiProcessor: *out = found.maxThreadsPerMultiProcessor; break;
    case cudaDevAttrWarpSize: *out = found.warpSize; break;
    case cudaDevAttrComputeCapabilityMajor: *out = found.major; break;
    case cudaDevAttrComputeCapabilityMinor: *out = found.minor; break;
    case cudaDevAttrL2CacheSize: *out = found.l2CacheSize; break;
    case cudaDevAttrMaxGridDimX: *out = found.maxGridSize[0]; break;
    case cudaDevAttrMaxGridDimY:
    case cudaDevAttrMaxGridDimZ: *out = found.maxGridSize[1]; break;
    default: *out = 0;
    }
    return cudaSuccess;
}
EXPORT cudaError_t cudaDeviceGetPCIBusId(char *out, int size, int device) {
    ENTER();
    snprintf(out, size, "0000:%02x:00.0", 0x41 + devices()[device].number);
    return cudaSuccess;
}
EXPORT cudaError_t cudaDeviceGetStreamPriorityRange(int *least, int *greatest) {
    if (least) *least = 0;
    if (greatest) *greatest = -5;
    return cudaSuccess;
}
EXPORT cudaError_t cudaDeviceCanAccessPeer(int *out, int, int) {
    *out = 0;
    return cudaSuccess;
}
EXPORT cudaError_t cudaGetDriverEntryPointByVersion(const char *name, void **out, unsigned, unsigned long long,
                                                    cudaDriverEntryPointQueryResult *status) {
    *out = dlsym(RTLD_DEFAULT, name);
    if (status) *status = *out ? cudaDriverEntryPointSuccess : cudaDriverEntryPointSymbolNotFound;
    return cudaSuccess;
}
EXPORT cudaError_t cudaProfilerStart() { return cudaSuccess; }
EXPORT cudaError_t cudaProfilerStop() { return cudaSuccess; }

/* ---- memory: address space of the host, of which only what is written becomes real ---- */

static std::map<char *, Block>::iterator block_of(std::map<char *, Block> &blocks, const void *pointer) {
    auto next = blocks.upper_bound((char *)pointer);
    if (next == blocks.begin()) return blocks.end();
    auto found = std::prev(next);
    return (char *)pointer < found->first + found->second.bytes ? found : blocks.end();
}
static bool in(std::map<char *, Block> &blocks, const void *pointer) { return block_of(blocks, pointer) != blocks.end(); }

namespace fake {
bool is_device_memory(const void *pointer) { return in(device_blocks, pointer); }
}

EXPORT cudaError_t cudaMemGetInfo(size_t *free, size_t *total) {
    ENTER();
    size_t used = current().used + CONTEXT_BYTES;
    if (free) *free = total_bytes() > used ? total_bytes() - used : 0;
    if (total) *total = total_bytes();
    return cudaSuccess;
}
EXPORT cudaError_t cudaMalloc(void **out, size_t bytes) {
    ENTER();
    if (auto error = unsafe("cudaMalloc")) return error;
    size_t free;
    cudaMemGetInfo(&free, nullptr);
    if (bytes > free) return fail(cudaErrorMemoryAllocation);
    void *found = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (found == MAP_FAILED) return fail(cudaErrorMemoryAllocation);
    madvise(found, bytes, MADV_NOHUGEPAGE); /* one byte written is 4 KiB of the host, not 2 MiB */
    device_blocks[(char *)found] = {bytes, current_index()};
    current().used += bytes;
    *out = found;
    return cudaSuccess;
}
EXPORT cudaError_t cudaFree(void *pointer) {
    ENTER();
    if (!pointer) return cudaSuccess;
    if (auto error = unsafe("cudaFree")) return error;
    auto found = device_blocks.find((char *)pointer);
    if (found == device_blocks.end()) return fail(cudaErrorInvalidValue);
    auto [begin, block] = *found;
    for (Graph *graph : executables)
        for (void *workspace : graph->workspaces)
            if (workspace >= begin && workspace < begin + block.bytes)
                complain("memory freed that a graph writes to at every replay");
    munmap(begin, block.bytes);
    devices()[block.device].used -= block.bytes;
    device_blocks.erase(found);
    return cudaSuccess;
}
EXPORT cudaError_t cudaHostAlloc(void **out, size_t bytes, unsigned) {
    ENTER();
    if (auto error = unsafe("cudaHostAlloc")) return error;
    *out = aligned_alloc(4096, (bytes + 4095) / 4096 * 4096);
    host_blocks[(char *)*out] = {bytes, 0};
    return *out ? cudaSuccess : fail(cudaErrorMemoryAllocation);
}
EXPORT cudaError_t cudaFreeHost(void *pointer) {
    ENTER();
    if (auto error = unsafe("cudaFreeHost")) return error;
    host_blocks.erase((char *)pointer);
    free(pointer);
    return cudaSuccess;
}
EXPORT cudaError_t cudaHostRegister(void *pointer, size_t bytes, unsigned) {
    ENTER();
    host_blocks[(char *)pointer] = {bytes, 0};
    return cudaSuccess;
}
EXPORT cudaError_t cudaHostUnregister(void *pointer) {
    ENTER();
    host_blocks.erase((char *)pointer);
    return cudaSuccess;
}
EXPORT cudaError_t cudaPointerGetAttributes(cudaPointerAttributes *out, const void *pointer) {
    ENTER();
    memset(out, 0, sizeof *out);
    auto found = block_of(device_blocks, pointer);
    bool on_device = found != device_blocks.end(), pinned = in(host_blocks, pointer);
    out->type = on_device ? cudaMemoryTypeDevice : pinned ? cudaMemoryTypeHost : cudaMemoryTypeUnregistered;
    out->device = on_device ? found->second.device : 0;
    out->devicePointer = (void *)pointer;
    out->hostPointer = pinned ? (void *)pointer : nullptr;
    return cudaSuccess;
}

static long long copy_ns(size_t bytes) { return 3000 + (long long)(bytes / 25.0); } /* 25 GB/s */

EXPORT cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t bytes, cudaMemcpyKind, cudaStream_t handle) {
    ENTER();
    Stream *stream = stream_of(handle);
    bool on_device = is_device_memory(to) && is_device_memory(from);
    bool pageable = !on_device && !in(host_blocks, is_device_memory(to) ? from : to);
    if (stream->capture && pageable) {
        complain("a copy of pageable memory in a capture");
        stream->capture->invalid = true;
        return fail(cudaErrorStreamCaptureUnsupported);
    }
    if (auto error = enqueue(stream, copy_ns(bytes), "a copy")) return error;
    if (stream->capture) return cudaSuccess;
    size_t at_most = on_device ? COPIED_ON_DEVICE_AT_MOST : COPIED_AT_MOST;
    if (!on_device || bytes <= at_most) memcpy(to, from, bytes < at_most ? bytes : at_most);
    if (pageable) sleep_until(stream->free_at);
    return cudaSuccess;
}
EXPORT cudaError_t cudaMemcpy(void *to, const void *from, size_t bytes, cudaMemcpyKind kind) {
    ENTER();
    if (auto error = unsafe("cudaMemcpy")) return error;
    if (auto error = cudaMemcpyAsync(to, from, bytes, kind, nullptr)) return error;
    sleep_until(current().default_stream.free_at);
    return cudaSuccess;
}
EXPORT cudaError_t cudaMemcpyPeerAsync(void *to, int, const void *from, int, size_t bytes, cudaStream_t stream) {
    return cudaMemcpyAsync(to, from, bytes, cudaMemcpyDefault, stream);
}
EXPORT cudaError_t cudaMemsetAsync(void *to, int value, size_t bytes, cudaStream_t handle) {
    ENTER();
    Stream *stream = stream_of(handle);
    if (auto error = enqueue(stream, copy_ns(0), "a fill")) return error;
    if (!stream->capture) memset(to, value, bytes < COPIED_AT_MOST ? bytes : COPIED_AT_MOST);
    return cudaSuccess;
}
EXPORT cudaError_t cudaMemset(void *to, int value, size_t bytes) { return cudaMemsetAsync(to, value, bytes, nullptr); }

/* ---- streams and events ---- */

EXPORT cudaError_t cudaStreamCreateWithPriority(cudaStream_t *out, unsigned, int priority) {
    ENTER();
    auto *stream = new Stream;
    stream->device = current_index();
    stream->priority = priority;
    current().streams.push_back(stream);
    *out = (cudaStream_t)stream;
    return cudaSuccess;
}
EXPORT cudaError_t cudaStreamCreateWithFlags(cudaStream_t *out, unsigned flags) {
    return cudaStreamCreateWithPriority(out, flags, 0);
}
EXPORT cudaError_t cudaStreamCreate(cudaStream_t *out) { return cudaStreamCreateWithPriority(out, 0, 0); }
EXPORT cudaError_t cudaStreamDestroy(cudaStream_t) { return cudaSuccess; } /* torch keeps its pool to the end */
EXPORT cudaError_t cudaStreamGetPriority(cudaStream_t stream, int *out) {
    ENTER();
    *out = stream_of(stream)->priority;
    return cudaSuccess;
}
EXPORT cudaError_t cudaStreamSynchronize(cudaStream_t handle) {
    long long at;
    {
        ENTER();
        Stream *stream = stream_of(handle);
        if (stream->capture) {
            complain("cudaStreamSynchronize of a stream that captures");
            stream->capture->invalid = true;
            return fail(cudaErrorStreamCaptureUnsupported);
        }
        if (auto error = unsafe("cudaStreamSynchronize")) return error;
        at = stream->free_at;
    }
    sleep_until(at);
    return cudaSuccess;
}
EXPORT cudaError_t cudaStreamQuery(cudaStream_t handle) {
    ENTER();
    if (auto error = unsafe("cudaStreamQuery")) return error;
    return stream_of(handle)->free_at <= now_ns() ? cudaSuccess : cudaErrorNotReady;
}

static bool is_captured(const Event *event) { return event->capture && captures.count(event->capture); }

EXPORT cudaError_t cudaStreamWaitEvent(cudaStream_t handle, cudaEvent_t awaited, unsigned) {
    ENTER();
    Stream *stream = stream_of(handle);
    auto *event = (Event *)awaited;
    if (!event->recorded) return cudaSuccess;
    if (!is_captured(event)) {
        if (stream->capture) {
            complain("a stream that captures waits for an event from outside");
            stream->capture->invalid = true;
            return fail(cudaErrorStreamCaptureIsolation);
        }
        if (event->at > stream->free_at) stream->free_at = event->at;
        return cudaSuccess;
    }
    Capture *capture = event->capture;
    if (stream == &devices()[stream->device].default_stream) {
        complain("the default stream waits for an event of a capture");
        capture->invalid = true;
        return fail(cudaErrorStreamCaptureImplicit);
    }
    if (!stream->capture) {
        stream->capture = capture;
        capture->joined.insert(stream);
    }
    bool waits_for_all = event->num_captured == event->stream->num_captured;
    if (waits_for_all) event->stream->has_unjoined_work = false;
    stream->has_unjoined_work = stream != capture->origin;
    return cudaSuccess;
}
EXPORT cudaError_t cudaEventCreateWithFlags(cudaEvent_t *out, unsigned flags) {
    ENTER();
    auto *event = new Event;
    event->flags = flags;
    *out = (cudaEvent_t)event;
    return cudaSuccess;
}
EXPORT cudaError_t cudaEventCreate(cudaEvent_t *out) { return cudaEventCreateWithFlags(out, 0); }
EXPORT cudaError_t cudaEventDestroy(cudaEvent_t event) {
    ENTER();
    delete (Event *)event;
    return cudaSuccess;
}
EXPORT cudaError_t cudaEventRecordWithFlags(cudaEvent_t recorded, cudaStream_t handle, unsigned) {
    ENTER();
    auto *event = (Event *)recorded;
    Stream *stream = stream_of(handle);
    long long now = now_ns();
    event->recorded = true;
    event->capture = stream->capture;
    event->stream = stream;
    event->num_captured = stream->num_captured;
    event->at = stream->free_at > now ? stream->free_at : now;
    return cudaSuccess;
}
EXPORT cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
    return cudaEventRecordWithFlags(event, stream, 0);
}
static cudaError_t refuse_captured(const Event *event, const char *what) {
    if (!is_captured(event)) return cudaSuccess;
    complain("an event of a capture", what);
    event->capture->invalid = true;
    return fail(cudaErrorStreamCaptureUnsupported);
}
EXPORT cudaError_t cudaEventQuery(cudaEvent_t asked) {
    ENTER();
    auto *event = (Event *)asked;
    if (auto error = refuse_captured(event, "cudaEventQuery")) return error;
    if (auto error = unsafe("cudaEventQuery")) return error;
    return event->at <= now_ns() ? cudaSuccess : cudaErrorNotReady;
}
EXPORT cudaError_t cudaEventSynchronize(cudaEvent_t awaited) {
    long long at;
    {
        ENTER();
        auto *event = (Event *)awaited;
        if (auto error = refuse_captured(event, "cudaEventSynchronize")) return error;
        if (auto error = unsafe("cudaEventSynchronize")) return error;
        at = event->at;
    }
    sleep_until(at);
    return cudaSuccess;
}
EXPORT cudaError_t cudaEventElapsedTime(float *out, cudaEvent_t from, cudaEvent_t to) {
    ENTER();
    auto *first = (Event *)from, *second = (Event *)to;
    if ((first->flags | second->flags) & cudaEventDisableTiming || !first->recorded || !second->recorded)
        return fail(cudaErrorInvalidResourceHandle);
    if (first->at > now_ns() || second->at > now_ns()) return cudaErrorNotReady;
    *out = (float)((second->at - first->at) * 1e-6);
    return cudaSuccess;
}

/* ---- graphs ---- */

static cudaError_t begin_capture(cudaStream_t handle, cudaStreamCaptureMode mode) {
    ENTER();
    Stream *stream = stream_of(handle);
    if (stream == &devices()[stream->device].default_stream) {
        complain("a capture of the default stream");
        return fail(cudaErrorStreamCaptureUnsupported);
    }
    auto *capture = new Capture{++num_captures, mode, thread_id(), stream};
    stream->capture = capture;
    captures.insert(capture);
    return cudaSuccess;
}
EXPORT cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode mode) {
    return begin_capture(stream, mode);
}
EXPORT cudaError_t cudaStreamBeginCaptureToGraph(cudaStream_t stream, cudaGraph_t, const cudaGraphNode_t *,
                                                 const cudaGraphEdgeData *, size_t, cudaStreamCaptureMode mode) {
    return begin_capture(stream, mode);
}
EXPORT cudaError_t cudaStreamEndCapture(cudaStream_t handle, cudaGraph_t *out) {
    ENTER();
    Stream *stream = stream_of(handle);
    Capture *capture = stream->capture;
    *out = nullptr;
    if (!capture || capture->origin != stream) return fail(cudaErrorIllegalState);
    bool unjoined = false;
    for (Stream *joined : capture->joined) {
        unjoined = unjoined || joined->has_unjoined_work;
        joined->capture = nullptr;
        joined->has_unjoined_work = false;
    }
    stream->capture = nullptr;
    captures.erase(capture);
    if (unjoined) complain("a capture ends before the work of another stream has joined it");
    cudaError_t error = capture->invalid ? cudaErrorStreamCaptureInvalidated
                        : unjoined       ? cudaErrorStreamCaptureUnjoined
                                         : cudaSuccess;
    if (!error) *out = (cudaGraph_t) new Graph{capture->num_nodes, capture->workspaces};
    delete capture;
    return fail(error);
}
EXPORT cudaError_t cudaStreamIsCapturing(cudaStream_t handle, cudaStreamCaptureStatus *out) {
    ENTER();
    Capture *capture = stream_of(handle)->capture;
    *out = !capture           ? cudaStreamCaptureStatusNone
           : capture->invalid ? cudaStreamCaptureStatusInvalidated
                              : cudaStreamCaptureStatusActive;
    return cudaSuccess;
}
EXPORT cudaError_t cudaStreamGetCaptureInfo(cudaStream_t handle, cudaStreamCaptureStatus *status,
                                            unsigned long long *id, cudaGraph_t *graph,
                                            const cudaGraphNode_t **dependencies, const cudaGraphEdgeData **edges,
                                            size_t *num_dependencies) {
    ENTER();
    Capture *capture = stream_of(handle)->capture;
    if (id && capture) *id = capture->id;
    if (graph) *graph = nullptr;
    if (dependencies) *dependencies = nullptr;
    if (edges) *edges = nullptr;
    if (num_dependencies) *num_dependencies = 0;
    return cudaStreamIsCapturing(handle, status);
}
EXPORT cudaError_t cudaStreamUpdateCaptureDependencies(cudaStream_t, cudaGraphNode_t *, const cudaGraphEdgeData *, size_t,
                                                       unsigned) {
    return cudaSuccess;
}
EXPORT cudaError_t cudaThreadExchangeStreamCaptureMode(cudaStreamCaptureMode *mode) {
    std::swap(*mode, mode_of_this_thread());
    return cudaSuccess;
}
EXPORT cudaError_t cudaGraphInstantiateWithFlags(cudaGraphExec_t *out, cudaGraph_t graph, unsigned long long) {
    ENTER();
    auto *executable = new Graph(*(Graph *)graph);
    executables.insert(executable);
    *out = (cudaGraphExec_t)executable;
    return cudaSuccess;
}
EXPORT cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
    ENTER();
    delete (Graph *)graph;
    return cudaSuccess;
}
EXPORT cudaError_t cudaGraphExecDestroy(cudaGraphExec_t executable) {
    ENTER();
    executables.erase((Graph *)executable);
    delete (Graph *)executable;
    return cudaSuccess;
}
EXPORT cudaError_t cudaGraphGetNodes(cudaGraph_t graph, cudaGraphNode_t *, size_t *out) {
    ENTER();
    *out = ((Graph *)graph)->num_nodes;
    return cudaSuccess;
}
EXPORT cudaError_t cudaGraphLaunch(cudaGraphExec_t executable, cudaStream_t stream) {
    ENTER();
    auto *graph = (Graph *)executable;
    return launch(stream_of(stream), 2000 + graph->num_nodes * kernel_ns() / 3, "a graph");
}
EXPORT cudaError_t cudaGraphRetainUserObject(cudaGraph_t, cudaUserObject_t, unsigned, unsigned) { return cudaSuccess; }
EXPORT cudaError_t cudaUserObjectCreate(cudaUserObject_t *out, void *, cudaHostFn_t, unsigned, unsigned) {
    static char object;
    *out = (cudaUserObject_t)&object;
    return cudaSuccess;
}
EXPORT cudaError_t cudaUserObjectRelease(cudaUserObject_t, unsigned) { return cudaSuccess; }

namespace fake {
void uses_workspace(Stream *stream, void *workspace) {
    if (workspace && stream->capture) stream->capture->workspaces.insert(workspace);
}
} // namespace fake
