// The driver's interface, as far as the host code calls it, for two GPUs that are the CPU itself.
//
// All work is done when a call returns, except copies from the host that are large or from pinned memory: these read
// their source as late as they may.
// Mistakes that a GPU would forgive are detected here: memory is initialised to NaN, the bytes around every allocation
// are checked, and what cannot be part of a graph fails while one is captured.
// So are calls that would hold up several GPUs only sometimes: those that may wait for a GPU while a sum is still
// being submitted to another one.

#include "driver.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <iterator>
#include <map>
#include <mutex>
#include <string>
#include <utility>

#include <unistd.h>

namespace {

using emulator::Graph;
using emulator::Stream;

enum Result {
    SUCCESS = 0,
    INVALID_VALUE = 1,
    OUT_OF_MEMORY = 2,
    INVALID_DEVICE = 101,
    INVALID_HANDLE = 400,
    NOT_FOUND = 500,
    ILLEGAL_ADDRESS = 700,
    CAPTURE_UNSUPPORTED = 900,
};

// Bytes around an allocation. All bits set is NaN, as bf16 and as f32, so that reading them shows.
constexpr size_t GUARD = 256;
constexpr unsigned char UNWRITTEN = 0xff;

// Memory that must be free for a module to be loaded.
constexpr size_t MODULE_BYTES = 64 << 10;

// Bytes of a copy from the host that are read before the call returns, unless they are in pinned memory.
constexpr size_t READ_AT_ONCE = 64 << 10;

// Dynamic shared memory that a block has without asking for more, and the most that it gets: as little as any GPU that
// has the kernels' compute capability.
constexpr unsigned USUAL_SHARED = 48 << 10, MOST_SHARED = 99 << 10;
// Shared memory of a multiprocessor: that of the smallest of these GPUs, and that of A100.
constexpr int MULTIPROCESSOR_SHARED[] = {100 << 10, 164 << 10};

// Attributes of GPUs and of kernels.
enum Attribute {
    MULTIPROCESSORS = 16,
    CAPABILITY_MAJOR = 75,
    CAPABILITY_MINOR = 76,
    SHARED_OF_MULTIPROCESSOR = 81,
    MOST_SHARED_OF_BLOCK = 97,
    MEMORY_POOLS = 115,
    KERNEL_DYNAMIC_SHARED = 8,
};

struct Memory {
    std::mutex lock;
    std::map<unsigned long long, size_t> allocations; // address, bytes
    size_t used = 0;
    size_t reserved = 0;           // by the pool: the largest `used` since it was trimmed
    std::atomic<int> capturing{0}; // streams that capture a graph
    std::atomic<bool> lost{false}; // all further work of this GPU fails

    size_t total() const {
        const char *told = getenv("GAVEL_EMULATED_BYTES");
        return told ? strtoull(told, nullptr, 10) : size_t(4) << 30;
    }

    void check(unsigned long long address, size_t bytes) const {
        const unsigned char *first = reinterpret_cast<const unsigned char *>(address);
        for (size_t index = 0; index < GUARD; index++)
            if (first[-1 - (long)index] != UNWRITTEN || first[bytes + index] != UNWRITTEN) {
                fprintf(stderr, "emulated GPU: a kernel wrote outside of an allocation of %zu bytes\n", bytes);
                abort();
            }
    }
};

std::atomic<unsigned long long> launched{0};

// After GAVEL_EMULATED_LAUNCHES kernels a GPU is lost, as real ones may be.
void count_launch(Memory &gpu) {
    const char *told = getenv("GAVEL_EMULATED_LAUNCHES");
    if (told && ++launched > strtoull(told, nullptr, 10)) gpu.lost = true;
}

// Each GPU's memory is also its context.
constexpr int GPU_COUNT = 2;
// Never destroyed: a process may end while its engine still runs.
std::array<Memory, GPU_COUNT> &gpus = *new std::array<Memory, GPU_COUNT>;
Stream default_stream;

// When a process runs its exit handlers, the driver is torn down under threads that use it, which is undefined. With
// GAVEL_EMULATED_TEARDOWN set, the process then ends as after a crash.
struct Teardown {
    ~Teardown() {
        if (getenv("GAVEL_EMULATED_TEARDOWN")) _exit(139);
    }
} teardown;

thread_local void *current_context = nullptr;

Memory &gpu_of(void *context) { return context ? *static_cast<Memory *>(context) : gpus[0]; }
Memory &current_gpu() { return gpu_of(current_context); }

bool is_gpu(int device) { return device >= 0 && device < GPU_COUNT; }

// Pinned memory of the host: where it begins, and its bytes.
struct Pinned {
    std::mutex lock;
    std::map<const char *, size_t> allocations;

    bool has(const void *address) {
        std::lock_guard<std::mutex> guard(lock);
        auto after = allocations.upper_bound(static_cast<const char *>(address));
        if (after == allocations.begin()) return false;
        auto [first, bytes] = *std::prev(after);
        return static_cast<const char *>(address) < first + bytes;
    }
};

Pinned &pinned = *new Pinned;

// The stream outlives whoever waits for the event.
struct Event {
    std::chrono::steady_clock::time_point time;
    void *stream = nullptr;
    bool recorded = false;
};

// A kernel of a module, and the dynamic shared memory that its blocks may have.
struct Function {
    const emulator::Kernel *kernel;
    unsigned most_shared = USUAL_SHARED;
};

// The kernels that were taken from a module, by name.
using Module = std::map<std::string, Function>;

Stream &of(void *stream) { return stream ? *static_cast<Stream *>(stream) : default_stream; }

Memory &gpu_of_stream(void *stream) { return stream ? gpu_of(of(stream).context) : current_gpu(); }

// Makes the copies from the host that a stream has put off.
void make_copies(Stream &stream) {
    for (auto &copy : std::exchange(stream.copies, {})) copy();
}

// Whether a stream belongs to the current GPU: launches in another GPU's stream fail, as on real GPUs.
bool is_current(void *stream) { return !stream || of(stream).context == current_context; }

// The number of sums that are being submitted among the GPUs with which this thread's GPU is connected.
thread_local std::shared_ptr<std::atomic<int>> sums;

// Checks calls that take locks of the driver and may wait for the GPU. The GPU may be waiting for another one's part
// of a sum, whose thread needs the same locks to submit it: a deadlock.
void may_wait(const char *call) {
    if (sums && *sums > 0) {
        fprintf(stderr, "emulated GPU: %s was called while another GPU was still asked for a sum\n", call);
        abort();
    }
}

Result allocate(unsigned long long *address, size_t bytes) {
    may_wait("cuMemAlloc");
    Memory &memory = current_gpu();
    std::lock_guard<std::mutex> guard(memory.lock);
    if (memory.lost) return ILLEGAL_ADDRESS;
    if (bytes == 0) return INVALID_VALUE;
    if (memory.used + bytes > memory.total()) return OUT_OF_MEMORY;
    unsigned char *first = static_cast<unsigned char *>(aligned_alloc(256, (bytes + 2 * GUARD + 255) / 256 * 256));
    memset(first, UNWRITTEN, bytes + 2 * GUARD);
    *address = reinterpret_cast<unsigned long long>(first + GUARD);
    memory.allocations[*address] = bytes;
    memory.used += bytes;
    memory.reserved = std::max(memory.reserved, memory.used);
    return SUCCESS;
}

Result release(unsigned long long address) {
    for (Memory &memory : gpus) {
        std::lock_guard<std::mutex> guard(memory.lock);
        auto found = memory.allocations.find(address);
        if (found == memory.allocations.end()) continue;
        memory.check(address, found->second);
        memory.used -= found->second;
        memory.allocations.erase(found);
        free(reinterpret_cast<unsigned char *>(address) - GUARD);
        return SUCCESS;
    }
    return INVALID_VALUE;
}

} // namespace

namespace emulator {

// Runs an operation of a stream, or keeps it for the graph that is being captured.
void run(void *stream, std::function<void()> operation) {
    Stream &own = of(stream);
    make_copies(own);
    if (own.captured)
        own.captured->operations.push_back(std::move(operation));
    else
        operation();
}

void adds_up_with(std::shared_ptr<std::atomic<int>> others) { sums = std::move(others); }

} // namespace emulator

extern "C" {

int cuInit(unsigned) { return SUCCESS; }
int cuDriverGetVersion(int *version) { return *version = 13000, SUCCESS; }

int cuGetErrorName(int error, const char **name) {
    static const std::map<int, const char *> names = {
        {INVALID_VALUE, "CUDA_ERROR_INVALID_VALUE"},
        {OUT_OF_MEMORY, "CUDA_ERROR_OUT_OF_MEMORY"},
        {INVALID_DEVICE, "CUDA_ERROR_INVALID_DEVICE"},
        {INVALID_HANDLE, "CUDA_ERROR_INVALID_HANDLE"},
        {NOT_FOUND, "CUDA_ERROR_NOT_FOUND"},
        {ILLEGAL_ADDRESS, "CUDA_ERROR_ILLEGAL_ADDRESS"},
        {CAPTURE_UNSUPPORTED, "CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED"},
    };
    auto found = names.find(error);
    *name = found == names.end() ? "CUDA_ERROR_UNKNOWN" : found->second;
    return SUCCESS;
}

int cuGetErrorString(int error, const char **text) { return cuGetErrorName(error, text); }

// Devices and contexts.

int cuDeviceGetCount(int *count) { return *count = GPU_COUNT, SUCCESS; }
int cuDeviceGet(int *device, int ordinal) { return *device = ordinal, is_gpu(ordinal) ? SUCCESS : INVALID_DEVICE; }
int cuDeviceGetName(char *name, int length, int) { return snprintf(name, length, "emulated GPU"), SUCCESS; }
int cuDeviceTotalMem_v2(size_t *bytes, int device) { return *bytes = gpus[device].total(), SUCCESS; }

int cuDeviceGetAttribute(int *value, int attribute, int device) {
    if (!is_gpu(device)) return INVALID_DEVICE;
    switch (attribute) {
    case MULTIPROCESSORS: *value = 4; break;
    case CAPABILITY_MAJOR: *value = 9; break;
    case CAPABILITY_MINOR: *value = 0; break;
    case SHARED_OF_MULTIPROCESSOR: *value = MULTIPROCESSOR_SHARED[device]; break;
    case MOST_SHARED_OF_BLOCK: *value = MOST_SHARED; break;
    case MEMORY_POOLS: *value = 1; break;
    default: *value = 0;
    }
    return SUCCESS;
}

// Not a function of the driver: a test loses a GPU by it.
void gavel_lose_gpu(int device) { gpus[device].lost = true; }

int cuDevicePrimaryCtxRetain(void **context, int device) { return *context = &gpus[device], SUCCESS; }
int cuDevicePrimaryCtxRelease_v2(int) { return SUCCESS; }
int cuCtxSetCurrent(void *context) { return current_context = context, SUCCESS; }
int cuCtxGetCurrent(void **context) { return *context = current_context, SUCCESS; }
int cuCtxSynchronize() { return current_gpu().capturing ? CAPTURE_UNSUPPORTED : SUCCESS; }

int cuMemGetInfo_v2(size_t *free, size_t *total) {
    Memory &memory = current_gpu();
    std::lock_guard<std::mutex> guard(memory.lock);
    *total = memory.total();
    *free = *total - memory.reserved;
    return SUCCESS;
}

// Memory. Allocations in a stream that captures would become part of the graph; here they are refused.

int cuMemAlloc_v2(unsigned long long *address, size_t bytes) { return allocate(address, bytes); }
int cuMemFree_v2(unsigned long long address) { return release(address); }

int cuMemAllocAsync(unsigned long long *address, size_t bytes, void *stream) {
    return of(stream).captured ? CAPTURE_UNSUPPORTED : allocate(address, bytes);
}

int cuMemFreeAsync(unsigned long long address, void *stream) {
    make_copies(of(stream));
    return of(stream).captured ? CAPTURE_UNSUPPORTED : release(address);
}

int cuDeviceCanAccessPeer(int *can, int, int) { return *can = 1, SUCCESS; }
int cuMemPoolSetAccess(void *, const void *, size_t) { return SUCCESS; }

// Pools keep freed memory until they are trimmed, like real ones with a high release threshold.
int cuDeviceGetDefaultMemPool(void **pool, int device) { return *pool = &gpus[device], SUCCESS; }
int cuMemPoolSetAttribute(void *, int, void *) { return SUCCESS; }

int cuMemPoolTrimTo(void *pool, size_t) {
    Memory &memory = *static_cast<Memory *>(pool);
    std::lock_guard<std::mutex> guard(memory.lock);
    memory.reserved = memory.used;
    return SUCCESS;
}

int cuMemHostAlloc(void **address, size_t bytes, unsigned) {
    may_wait("cuMemHostAlloc");
    *address = malloc(bytes);
    std::lock_guard<std::mutex> guard(pinned.lock);
    pinned.allocations[static_cast<const char *>(*address)] = bytes;
    return SUCCESS;
}

int cuMemFreeHost(void *address) {
    may_wait("cuMemFreeHost");
    std::lock_guard<std::mutex> guard(pinned.lock);
    pinned.allocations.erase(static_cast<const char *>(address));
    return free(address), SUCCESS;
}

int cuMemcpyHtoDAsync_v2(unsigned long long to, const void *from, size_t bytes, void *stream) {
    if (of(stream).captured) return CAPTURE_UNSUPPORTED;
    of(stream).copies.push_back([=] { memcpy(reinterpret_cast<void *>(to), from, bytes); });
    if (bytes <= READ_AT_ONCE && !pinned.has(from)) make_copies(of(stream));
    return SUCCESS;
}

int cuMemcpyDtoHAsync_v2(void *to, unsigned long long from, size_t bytes, void *stream) {
    if (of(stream).captured) return CAPTURE_UNSUPPORTED;
    if (gpu_of_stream(stream).lost) return ILLEGAL_ADDRESS;
    make_copies(of(stream));
    memcpy(to, reinterpret_cast<const void *>(from), bytes);
    return SUCCESS;
}

int cuMemcpyDtoDAsync_v2(unsigned long long to, unsigned long long from, size_t bytes, void *stream) {
    emulator::run(stream, [=] { memmove(reinterpret_cast<void *>(to), reinterpret_cast<const void *>(from), bytes); });
    return SUCCESS;
}

int cuMemsetD8Async(unsigned long long to, unsigned char value, size_t bytes, void *stream) {
    emulator::run(stream, [=] { memset(reinterpret_cast<void *>(to), value, bytes); });
    return SUCCESS;
}

// Streams and events.

int cuStreamCreate(void **stream, unsigned) { return *stream = new Stream{nullptr, current_context, {}}, SUCCESS; }

int cuStreamDestroy_v2(void *stream) {
    make_copies(of(stream));
    return delete static_cast<Stream *>(stream), SUCCESS;
}

int cuStreamWaitEvent(void *, void *, unsigned) { return SUCCESS; }

int cuStreamSynchronize(void *stream) {
    if (of(stream).captured) return CAPTURE_UNSUPPORTED;
    if (gpu_of_stream(stream).lost) return ILLEGAL_ADDRESS;
    make_copies(of(stream));
    for (Memory &memory : gpus) {
        std::lock_guard<std::mutex> guard(memory.lock);
        for (auto &[address, bytes] : memory.allocations) memory.check(address, bytes);
    }
    return SUCCESS;
}

int cuEventCreate(void **event, unsigned) { return *event = new Event, SUCCESS; }
int cuEventDestroy_v2(void *event) { return delete static_cast<Event *>(event), SUCCESS; }
int cuEventQuery(void *) { return SUCCESS; }

int cuEventSynchronize(void *event) {
    const Event &own = *static_cast<Event *>(event);
    if (own.recorded) make_copies(of(own.stream));
    return SUCCESS;
}

int cuEventRecord(void *event, void *stream) {
    *static_cast<Event *>(event) = {std::chrono::steady_clock::now(), stream, true};
    return SUCCESS;
}

int cuEventElapsedTime_v2(float *milliseconds, void *start, void *end) {
    auto passed = static_cast<Event *>(end)->time - static_cast<Event *>(start)->time;
    *milliseconds = std::chrono::duration<float, std::milli>(passed).count();
    return SUCCESS;
}

// Modules. Whatever the image, the kernels are those that were compiled into this library.

int cuModuleLoadData(void **module, const void *) {
    may_wait("cuModuleLoadData");
    Memory &memory = current_gpu();
    std::lock_guard<std::mutex> guard(memory.lock);
    if (memory.used + MODULE_BYTES > memory.total()) return OUT_OF_MEMORY;
    return *module = new Module, SUCCESS;
}

int cuModuleUnload(void *module) { return delete static_cast<Module *>(module), SUCCESS; }

int cuModuleGetFunction(void **function, void *module, const char *name) {
    may_wait("cuModuleGetFunction");
    const emulator::Kernel *kernel = emulator::find_kernel(name);
    if (!kernel) return NOT_FOUND;
    return *function = &static_cast<Module *>(module)->emplace(name, Function{kernel}).first->second, SUCCESS;
}

int cuFuncSetAttribute(void *function, int attribute, int value) {
    if (attribute != KERNEL_DYNAMIC_SHARED) return SUCCESS;
    if (value < 0 || static_cast<unsigned>(value) > MOST_SHARED) return INVALID_VALUE;
    return static_cast<Function *>(function)->most_shared = value, SUCCESS;
}

int cuFuncGetAttribute(int *value, int, void *) { return *value = 0, SUCCESS; }

int cuLaunchKernel(void *function, unsigned grid_x, unsigned grid_y, unsigned grid_z, unsigned block_x, unsigned block_y,
                   unsigned block_z, unsigned shared_bytes, void *stream, void **arguments, void **) {
    const auto [kernel, most_shared] = *static_cast<Function *>(function);
    bool empty = !grid_x || !grid_y || !grid_z || !block_x || !block_y || !block_z;
    bool large =
        block_x * block_y * block_z > 1024 || grid_y > 65535 || grid_z > 65535 || shared_bytes > most_shared;
    if (empty || large) return INVALID_VALUE;
    if (!is_current(stream)) return INVALID_HANDLE;
    // The arguments are valid only until this call returns.
    std::vector<std::vector<char>> kept;
    for (size_t index = 0; index < kernel->argument_bytes.size(); index++) {
        const char *first = static_cast<const char *>(arguments[index]);
        kept.emplace_back(first, first + kernel->argument_bytes[index]);
    }
    emulator::run(stream, [=, kernel = kernel]() mutable {
        Memory &gpu = gpu_of_stream(stream);
        count_launch(gpu);
        if (gpu.lost) return;
        std::vector<void *> pointers;
        for (auto &argument : kept) pointers.push_back(argument.data());
        emulator::Dim grid{grid_x, grid_y, grid_z}, block{block_x, block_y, block_z};
        emulator::launch(kernel->entry, grid, block, shared_bytes, pointers.data());
    });
    return SUCCESS;
}

// Graphs.

int cuStreamBeginCapture_v2(void *stream, int) {
    if (!stream || of(stream).captured) return CAPTURE_UNSUPPORTED;
    gpu_of(of(stream).context).capturing++;
    return of(stream).captured = new Graph, SUCCESS;
}

int cuStreamEndCapture(void *stream, void **graph) {
    *graph = of(stream).captured;
    if (!*graph) return INVALID_VALUE;
    of(stream).captured = nullptr;
    gpu_of(of(stream).context).capturing--;
    return SUCCESS;
}

int cuStreamIsCapturing(void *stream, int *status) { return *status = of(stream).captured ? 1 : 0, SUCCESS; }
int cuGraphInstantiateWithFlags(void **ready, void *graph, unsigned long long) {
    return *ready = new Graph(*static_cast<Graph *>(graph)), SUCCESS;
}
int cuGraphUpload(void *, void *) { return SUCCESS; }
int cuGraphDestroy(void *graph) { return delete static_cast<Graph *>(graph), SUCCESS; }
int cuGraphExecDestroy(void *graph) { return delete static_cast<Graph *>(graph), SUCCESS; }

int cuGraphLaunch(void *graph, void *stream) {
    for (auto &operation : static_cast<Graph *>(graph)->operations) emulator::run(stream, operation);
    return SUCCESS;
}
}
