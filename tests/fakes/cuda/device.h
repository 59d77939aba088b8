/* What the files of the fake CUDA share: devices, streams, captures, and how a call fails. control.py says what the fake
 * can show and what it cannot. */
#pragma once
#include <cuda_runtime_api.h>

#include <cstddef>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#define EXPORT extern "C"

namespace fake {

/* One stream's queue: work is done when the clock reaches `free_at` (CLOCK_MONOTONIC, ns). */
struct Stream {
    int device = 0, priority = 0;
    long long free_at = 0;
    struct Capture *capture = nullptr;
    long num_captured = 0;
    bool has_unjoined_work = false; /* that the origin of the capture has not waited for */
};

struct Event {
    unsigned flags = 0;
    bool recorded = false;
    long long at = 0;
    Capture *capture = nullptr;
    Stream *stream = nullptr;
    long num_captured = 0; /* what the stream had captured when it was recorded */
};

struct Capture {
    unsigned long long id;
    cudaStreamCaptureMode mode;
    long thread;
    Stream *origin;
    bool invalid = false;
    long num_nodes = 0;
    std::set<Stream *> joined = {};
    std::set<void *> workspaces = {}; /* of cuBLAS: the graph writes there at every replay */
};

struct Device {
    Stream default_stream;
    std::vector<Stream *> streams;
    size_t used = 0;
    std::string uuid; /* without prefix */
    int number = 0;   /* among all cards, whatever CUDA_VISIBLE_DEVICES hides */
};

/* Every call takes it: the fake is one lock. Fails the call where the context is broken or belongs to another process. */
class Entry {
  public:
    Entry();
    explicit operator bool() const { return error != cudaSuccess; }
    cudaError_t error;

  private:
    std::lock_guard<std::recursive_mutex> held;
};

#define ENTER()  \
    Entry entry; \
    if (entry) return entry.error

std::vector<Device> &devices();
Device &current();
int current_index();
void select(int device);
long long setting(const char *name, long long otherwise); /* of the environment */
size_t total_bytes();
int capability(); /* 90 is 9.0 */

cudaError_t fail(cudaError_t error); /* remembers it for cudaGetLastError */
void complain(const char *what, const std::string &detail = "");

Stream *stream_of(cudaStream_t handle);
long long now_ns();
void sleep_until(long long at);
long thread_id();

/* Puts `ns` of work on a stream, or a node into the graph that it captures. */
cudaError_t enqueue(Stream *stream, long long ns, const char *what);
/* A kernel: work that counts as a launch, after which FAKE_CUDA_STICKY_AFTER breaks the context. */
cudaError_t launch(Stream *stream, long long ns, const char *what);
long long kernel_ns();
/* Fails where the calling thread, or any in global mode, captures: for calls that may wait for the device. */
cudaError_t unsafe(const char *what);
Capture *captured_by_this_thread();
cudaStreamCaptureMode &mode_of_this_thread();
/* A captured library call that writes to a workspace. */
void uses_workspace(Stream *stream, void *workspace);
bool is_device_memory(const void *pointer);

} // namespace fake
