/* Devices, the clock of their queues, and how calls fail. */
#include "device.h"

#include <fcntl.h>
#include <pthread.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace fake {

static const long long QUEUED_AT_MOST_NS = 4000000; /* about a thousand launches: then the host waits, as with a real queue */

static std::recursive_mutex mutex;
static bool used_here, used_by_parent; /* CUDA does not survive a fork */
static bool broken;
static long num_launches;
static thread_local cudaError_t last_error = cudaSuccess;
static thread_local int current_device;
static thread_local cudaStreamCaptureMode mode = cudaStreamCaptureModeGlobal;

extern std::set<Capture *> captures;

static void after_fork_in_child() { used_by_parent = used_by_parent || used_here; }
__attribute__((constructor)) static void watch_forks() { pthread_atfork(nullptr, nullptr, after_fork_in_child); }

Entry::Entry() : error(cudaSuccess), held(mutex) {
    used_here = true;
    if (used_by_parent) error = fail(cudaErrorInitializationError);
    else if (broken) error = fail(cudaErrorIllegalAddress);
}

long long setting(const char *name, long long otherwise) {
    const char *value = getenv(name);
    return value && *value ? atoll(value) : otherwise;
}

size_t total_bytes() {
    static size_t bytes = setting("FAKE_GPU_BYTES", 80LL << 30);
    return bytes;
}

int capability() {
    static int found = (int)setting("FAKE_CUDA_CAPABILITY", 90);
    return found;
}

long long kernel_ns() {
    static long long ns = setting("FAKE_CUDA_KERNEL_NS", 4000);
    return ns;
}

static std::string uuid_of(int number) { /* as the fake NVML numbers its cards */
    char text[40];
    snprintf(text, sizeof text, "fa4e0000-0000-4000-8000-%012d", number + 1);
    return text;
}

/* The cards that CUDA_VISIBLE_DEVICES lets through: numbers or beginnings of UUIDs (a MIG slice has its card's), up to the first that is neither. */
static std::vector<Device> find_devices() {
    int num_cards = (int)setting("FAKE_GPUS", 1);
    std::vector<int> numbers;
    const char *visible = getenv("CUDA_VISIBLE_DEVICES");
    if (!visible) {
        for (int i = 0; i < num_cards; i++) numbers.push_back(i);
    } else {
        std::string left = visible;
        while (!left.empty()) {
            std::string name = left.substr(0, left.find(','));
            left = left.size() > name.size() ? left.substr(name.size() + 1) : "";
            int found = -1;
            if (name.rfind("GPU-", 0) == 0 || name.rfind("MIG-", 0) == 0) {
                for (int i = 0; i < num_cards && found < 0; i++)
                    if (uuid_of(i).rfind(name.substr(4), 0) == 0) found = i;
            } else if (!name.empty() && name.find_first_not_of("0123456789") == std::string::npos) {
                found = atoi(name.c_str());
            }
            if (found < 0 || found >= num_cards) break;
            numbers.push_back(found);
        }
    }
    std::vector<Device> found(numbers.size());
    for (size_t i = 0; i < numbers.size(); i++) {
        found[i].number = numbers[i];
        found[i].uuid = uuid_of(numbers[i]);
        found[i].default_stream.device = (int)i;
    }
    return found;
}

std::vector<Device> &devices() {
    static std::vector<Device> found = find_devices();
    return found;
}

void select(int device) { current_device = device; }
int current_index() { return current_device; }
Device &current() { return devices()[current_device]; }

cudaError_t fail(cudaError_t error) {
    if (error != cudaSuccess) last_error = error;
    return error;
}

/* One line to stderr and to the file FAKE_CUDA_LOG. */
void complain(const char *what, const std::string &detail) {
    char line[512];
    int length = snprintf(line, sizeof line, "fake CUDA: %s%s%s\n", what, detail.empty() ? "" : ": ", detail.c_str());
    length = length < (int)sizeof line ? length : (int)sizeof line - 1;
    int files[] = {2, -1};
    if (const char *path = getenv("FAKE_CUDA_LOG")) files[1] = open(path, O_WRONLY | O_CREAT | O_APPEND, 0644);
    for (int file : files)
        if (file >= 0 && write(file, line, length) < 0) perror("fake CUDA");
    if (files[1] >= 0) close(files[1]);
}

Stream *stream_of(cudaStream_t handle) {
    bool is_default = handle == nullptr || handle == cudaStreamLegacy || handle == cudaStreamPerThread;
    return is_default ? &current().default_stream : (Stream *)handle;
}

long long now_ns() {
    timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000000000LL + now.tv_nsec;
}

void sleep_until(long long at) {
    timespec until{(time_t)(at / 1000000000LL), (long)(at % 1000000000LL)};
    if (at > now_ns()) clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, nullptr);
}

long thread_id() { return syscall(SYS_gettid); }

cudaStreamCaptureMode &mode_of_this_thread() { return mode; }

Capture *captured_by_this_thread() {
    for (Capture *capture : captures)
        if (capture->thread == thread_id()) return capture;
    return nullptr;
}

cudaError_t unsafe(const char *what) {
    if (mode == cudaStreamCaptureModeRelaxed) return cudaSuccess;
    for (Capture *capture : captures) {
        bool seen_by_all = capture->mode == cudaStreamCaptureModeGlobal && mode == cudaStreamCaptureModeGlobal;
        bool own = capture->thread == thread_id() && capture->mode != cudaStreamCaptureModeRelaxed;
        if (!seen_by_all && !own) continue;
        complain("not allowed while a stream captures", what);
        capture->invalid = true;
        return fail(cudaErrorStreamCaptureUnsupported);
    }
    return cudaSuccess;
}

cudaError_t enqueue(Stream *stream, long long ns, const char *what) {
    if (Capture *capture = stream->capture) {
        if (capture->invalid) return fail(cudaErrorStreamCaptureInvalidated);
        capture->num_nodes++;
        stream->num_captured++;
        stream->has_unjoined_work = stream != capture->origin;
        return cudaSuccess;
    }
    if (captured_by_this_thread()) complain("work that the capture of this thread leaves out", what);
    long long now = now_ns();
    long long begin = stream->free_at > now ? stream->free_at : now;
    if (ns < QUEUED_AT_MOST_NS) sleep_until(stream->free_at - QUEUED_AT_MOST_NS);
    stream->free_at = begin + ns;
    return cudaSuccess;
}

cudaError_t launch(Stream *stream, long long ns, const char *what) {
    static long breaks_after = setting("FAKE_CUDA_STICKY_AFTER", 0);
    if (breaks_after && ++num_launches >= breaks_after) broken = true; /* the next call is told */
    return enqueue(stream, ns, what);
}

} // namespace fake

using namespace fake;

EXPORT cudaError_t cudaGetLastError() {
    cudaError_t error = last_error;
    if (!broken) last_error = cudaSuccess;
    return error;
}

EXPORT cudaError_t cudaPeekAtLastError() { return last_error; }

static const struct {
    cudaError_t code;
    const char *name, *text;
} ERRORS[] = {
    {cudaSuccess, "cudaSuccess", "no error"},
    {cudaErrorMemoryAllocation, "cudaErrorMemoryAllocation", "out of memory"},
    {cudaErrorInitializationError, "cudaErrorInitializationError", "initialization error"},
    {cudaErrorInvalidDevice, "cudaErrorInvalidDevice", "invalid device ordinal"},
    {cudaErrorNoDevice, "cudaErrorNoDevice", "no CUDA-capable device is detected"},
    {cudaErrorInvalidConfiguration, "cudaErrorInvalidConfiguration", "invalid configuration argument"},
    {cudaErrorInvalidValue, "cudaErrorInvalidValue", "invalid argument"},
    {cudaErrorInvalidResourceHandle, "cudaErrorInvalidResourceHandle", "invalid resource handle"},
    {cudaErrorNotReady, "cudaErrorNotReady", "device not ready"},
    {cudaErrorIllegalAddress, "cudaErrorIllegalAddress", "an illegal memory access was encountered"},
    {cudaErrorNotSupported, "cudaErrorNotSupported", "operation not supported"},
    {cudaErrorStreamCaptureUnsupported, "cudaErrorStreamCaptureUnsupported",
     "operation not permitted when stream is capturing"},
    {cudaErrorStreamCaptureInvalidated, "cudaErrorStreamCaptureInvalidated",
     "operation failed due to a previous error during capture"},
    {cudaErrorStreamCaptureUnjoined, "cudaErrorStreamCaptureUnjoined",
     "capturing stream has unjoined work"},
    {cudaErrorStreamCaptureIsolation, "cudaErrorStreamCaptureIsolation",
     "dependency created on uncaptured work in another stream"},
    {cudaErrorStreamCaptureImplicit, "cudaErrorStreamCaptureImplicit",
     "operation would make the legacy stream depend on a capturing blocking stream"},
};

EXPORT const char *cudaGetErrorString(cudaError_t error) {
    for (auto &each : ERRORS)
        if (each.code == error) return each.text;
    return "unrecognized error code";
}

EXPORT const char *cudaGetErrorName(cudaError_t error) {
    for (auto &each : ERRORS)
        if (each.code == error) return each.name;
    return "unrecognized error code";
}
