// Blocks and threads: each thread of a block is a fiber with its own stack, and a block stays on one thread of the
// operating system, so that switching takes a few nanoseconds and every run is the same.

#include "device.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

// Saves the registers that a called function must preserve, and the stack pointer to `*from`; restores those saved at
// `to`.
extern "C" void emulator_switch(void **from, void *to);

#if defined(__x86_64__)
asm(R"(
    .text
    .hidden emulator_switch
    .globl emulator_switch
emulator_switch:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret
)");
#elif defined(__aarch64__)
asm(R"(
    .text
    .hidden emulator_switch
    .globl emulator_switch
emulator_switch:
    sub sp, sp, #160
    stp x19, x20, [sp]
    stp x21, x22, [sp, #16]
    stp x23, x24, [sp, #32]
    stp x25, x26, [sp, #48]
    stp x27, x28, [sp, #64]
    stp x29, x30, [sp, #80]
    stp d8, d9, [sp, #96]
    stp d10, d11, [sp, #112]
    stp d12, d13, [sp, #128]
    stp d14, d15, [sp, #144]
    mov x9, sp
    str x9, [x0]
    mov sp, x1
    ldp x19, x20, [sp]
    ldp x21, x22, [sp, #16]
    ldp x23, x24, [sp, #32]
    ldp x25, x26, [sp, #48]
    ldp x27, x28, [sp, #64]
    ldp x29, x30, [sp, #80]
    ldp d8, d9, [sp, #96]
    ldp d10, d11, [sp, #112]
    ldp d12, d13, [sp, #128]
    ldp d14, d15, [sp, #144]
    add sp, sp, #160
    ret
)");
#else
#error "fibers are written for x86-64 and 64-bit ARM"
#endif

namespace emulator {

__thread const Place *place = nullptr;

namespace {

constexpr unsigned LANES = 32;
constexpr unsigned MOST_THREADS = 1024;
constexpr size_t MOST_SHARED_BYTES = 227 * 1024;
constexpr size_t STACK_BYTES = 128 * 1024;
// NaN in bf16, f32 and f16: shared memory is filled with it, so that reading what was never written shows.
constexpr int POISON = 0xff;

std::unordered_map<std::string, Kernel> &kernels() {
    static std::unordered_map<std::string, Kernel> all;
    return all;
}

struct Copy {
    void *shared;
    const void *global;
    bool valid;
    unsigned group;
};

struct Fiber {
    Place place;
    unsigned index;
    void *stack_pointer;
    std::vector<Copy> copies;
    unsigned copy_groups;
};

// Each set of lanes has a bit for each lane of the warp.
struct Warp {
    unsigned exist, can_run, meeting, finished;
    Together together[LANES];
    unsigned mask[LANES];
    void *operand[LANES];
};

struct Work {
    Entry entry;
    Dim grid, block;
    size_t shared_bytes;
    void **arguments;
    std::atomic<unsigned long long> next_block;
    unsigned long long blocks;
};

// Allocates memory whose end (or, for stacks, whose beginning) is a guard that must not be accessed.
char *reserve(size_t bytes, size_t guard_at, size_t guard_bytes) {
    void *memory =
        mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED ||
        mprotect(static_cast<char *>(memory) + guard_at, guard_bytes, PROT_NONE) != 0) {
        perror("memory of an emulated block");
        abort();
    }
    return static_cast<char *>(memory);
}

// Runs one block at a time.
class Multiprocessor {
public:
    Multiprocessor()
        : page(static_cast<size_t>(sysconf(_SC_PAGESIZE))),
          shared_end(reserve(SHARED_ROOM + page, SHARED_ROOM, page) + SHARED_ROOM) {}

    ~Multiprocessor() {
        munmap(shared_end - SHARED_ROOM, SHARED_ROOM + page);
        for (char *stack : stacks) {
            munmap(stack, STACK_BYTES);
        }
    }

    void run(Work &work) {
        for (;;) {
            const unsigned long long index = work.next_block.fetch_add(1, std::memory_order_relaxed);
            if (index >= work.blocks) {
                return;
            }
            const unsigned row = static_cast<unsigned>(index % work.grid.x);
            const unsigned long long column = index / work.grid.x;
            const Dim block = {row, static_cast<unsigned>(column % work.grid.y),
                               static_cast<unsigned>(column / work.grid.y)};
            run_block(work, block);
        }
    }

    void meet(Together together, unsigned mask, Lanes lanes, void *operand) {
        Warp &warp = warps[current / LANES];
        const unsigned lane = current % LANES, own = 1u << lane, wanted = mask & warp.exist;
        if ((mask & own) == 0) {
            fail("a lane is missing in its own mask %08x", mask);
        }
        if (lanes == Lanes::Exactly32 && wanted != ~0u) {
            fail("only the lanes %08x are there for what all 32 must do", wanted);
        }
        const unsigned others = warp.meeting & mask;
        if (others != 0) {
            const unsigned other = __builtin_ctz(others);
            if (warp.together[other] != together || warp.mask[other] != mask) {
                fail("lane %u of the warp does something else, or with another mask", other);
            }
        }
        warp.together[lane] = together;
        warp.mask[lane] = mask;
        warp.operand[lane] = operand;
        warp.meeting |= own;
        if ((warp.meeting & wanted) != wanted) {
            warp.can_run &= ~own;
            pass_on();
            return;
        }
        together(warp.operand, wanted);
        warp.meeting &= ~wanted;
        warp.can_run |= wanted;
    }

    void wait_for_block() {
        if (++at_barrier == threads) {
            at_barrier = 0;
            for (unsigned warp = 0; warp < warp_count(); warp++) {
                warps[warp].can_run = warps[warp].exist;
            }
            return;
        }
        warps[current / LANES].can_run &= ~(1u << current % LANES);
        pass_on();
    }

    Fiber &fiber() { return *fibers[current]; }

    [[noreturn]] void fail(const char *format, ...) {
        std::string name = "?";
        for (const auto &[known, kernel] : kernels()) {
            name = kernel.entry == entry_now ? known : name;
        }
        const Place &at = fiber().place;
        fprintf(stderr, "kernel %s, block (%u, %u, %u), thread (%u, %u, %u): ", name.c_str(), at.block.x,
                at.block.y, at.block.z, at.thread.x, at.thread.y, at.thread.z);
        va_list arguments;
        va_start(arguments, format);
        vfprintf(stderr, format, arguments);
        va_end(arguments);
        fputc('\n', stderr);
        abort();
    }

private:
    static constexpr size_t SHARED_ROOM = 256 * 1024;

    unsigned warp_count() const { return (threads + LANES - 1) / LANES; }

    void run_block(const Work &work, Dim block) {
        entry_now = work.entry;
        arguments_now = work.arguments;
        threads = work.block.x * work.block.y * work.block.z;
        // It ends at the guard, so that accesses beyond it are detected.
        const size_t shared_bytes = (work.shared_bytes + 15) / 16 * 16;
        char *shared = shared_end - shared_bytes;
        memset(shared, POISON, shared_bytes);
        at_barrier = finished = 0;
        for (unsigned warp = 0; warp < warp_count(); warp++) {
            const unsigned lanes = threads - warp * LANES;
            warps[warp].exist = lanes >= LANES ? ~0u : (1u << lanes) - 1;
            warps[warp].can_run = warps[warp].exist;
            warps[warp].meeting = warps[warp].finished = 0;
        }
        for (unsigned index = 0; index < threads; index++) {
            const Dim size = work.block;
            const Dim thread = {index % size.x, index / size.x % size.y, index / size.x / size.y};
            prepare(index, {thread, block, size, work.grid, shared});
        }
        current = 0;
        place = &fiber().place;
        emulator_switch(&outside, fiber().stack_pointer);
        place = nullptr;
    }

    void prepare(unsigned index, const Place &at) {
        if (index == fibers.size()) {
            fibers.push_back(std::make_unique<Fiber>());
            stacks.push_back(reserve(STACK_BYTES, 0, page));
        }
        Fiber &fiber = *fibers[index];
        fiber.place = at;
        fiber.index = index;
        fiber.copies.clear();
        fiber.copy_groups = 0;
        // Stack tops at equal distances would all map to the same few lines of the caches.
        char *top = stacks[index] + STACK_BYTES - index % 61 * 1088 - 64;
        void **words = reinterpret_cast<void **>(reinterpret_cast<size_t>(top) / 16 * 16);
#if defined(__x86_64__)
        // Six registers, then the return address of the switch; on entry to a function, the stack pointer is 8 bytes
        // off a multiple of 16.
        words -= 6;
        words[6] = reinterpret_cast<void *>(&begin);
#else
        words -= 20;
        words[11] = reinterpret_cast<void *>(&begin);
#endif
        fiber.stack_pointer = words;
    }

    static void begin();

    void run_thread() {
        entry_now(arguments_now);
        Warp &warp = warps[current / LANES];
        const unsigned own = 1u << current % LANES;
        warp.can_run &= ~own;
        warp.finished |= own;
        finished++;
        pass_on();
    }

    // Switches to another thread; returns when the current one can run again.
    void pass_on() {
        const unsigned own_warp = current / LANES, lane = current % LANES;
        const unsigned later = warps[own_warp].can_run & (~1u << lane);
        if (later != 0 || warps[own_warp].can_run != 0) {
            const unsigned lanes = later != 0 ? later : warps[own_warp].can_run;
            go_on_with(own_warp * LANES + __builtin_ctz(lanes));
            return;
        }
        for (unsigned step = 1; step < warp_count(); step++) {
            const unsigned warp = (own_warp + step) % warp_count();
            if (warps[warp].can_run != 0) {
                go_on_with(warp * LANES + __builtin_ctz(warps[warp].can_run));
                return;
            }
        }
        if (finished != threads) {
            fail("no thread of %u can go on: %u have returned, %u wait at the barrier, others for their warp",
                 threads, finished, at_barrier);
        }
        emulator_switch(&fiber().stack_pointer, outside);
    }

    void go_on_with(unsigned next) {
        Fiber &last = fiber();
        current = next;
        place = &fiber().place;
        emulator_switch(&last.stack_pointer, fiber().stack_pointer);
    }

    size_t page;
    char *shared_end;
    std::vector<char *> stacks;
    std::vector<std::unique_ptr<Fiber>> fibers;
    Warp warps[MOST_THREADS / LANES];
    Entry entry_now = nullptr;
    void **arguments_now = nullptr;
    void *outside = nullptr;
    unsigned threads = 0, current = 0, at_barrier = 0, finished = 0;
};

thread_local Multiprocessor owned;
__thread Multiprocessor *own = nullptr;

void Multiprocessor::begin() {
    own->run_thread();
    abort();  // A thread that has returned is never run again.
}

void make(const Copy &copy) {
    if (copy.valid) {
        memcpy(copy.shared, copy.global, 16);
    } else {
        memset(copy.shared, 0, 16);
    }
}

void run_here(Work &work) {
    own = &owned;
    own->run(work);
}

// Threads that run blocks beside the thread that launches. It is never destroyed: they wait until the process ends.
class Pool {
public:
    Pool() {
        for (unsigned helper = 1; helper < std::thread::hardware_concurrency(); helper++) {
            std::thread([this] { help(); }).detach();
        }
    }

    void run(Work &work) {
        // Kernels run one after the other, like those of one stream.
        std::lock_guard<std::mutex> alone(launching);
        if (work.blocks == 1) {
            run_here(work);
            return;
        }
        {
            std::lock_guard<std::mutex> locked(mutex);
            shared_work = &work;
        }
        there_is_work.notify_all();
        run_here(work);
        std::unique_lock<std::mutex> locked(mutex);
        shared_work = nullptr;
        all_done.wait(locked, [this] { return helping == 0; });
    }

private:
    void help() {
        std::unique_lock<std::mutex> locked(mutex);
        Work *done = nullptr;
        for (;;) {
            there_is_work.wait(locked, [&] { return shared_work != nullptr && shared_work != done; });
            Work *work = shared_work;
            helping++;
            locked.unlock();
            run_here(*work);
            locked.lock();
            done = shared_work;
            if (--helping == 0) {
                all_done.notify_all();
            }
        }
    }

    std::mutex launching, mutex;
    std::condition_variable there_is_work, all_done;
    Work *shared_work = nullptr;
    unsigned helping = 0;
};

}  // namespace

Registration::Registration(const char *name, Kernel kernel) {
    if (!kernels().emplace(name, std::move(kernel)).second) {
        fprintf(stderr, "there are two kernels %s\n", name);
        abort();
    }
}

const Kernel *find_kernel(const char *name) {
    const auto found = kernels().find(name);
    return found == kernels().end() ? nullptr : &found->second;
}

void launch(Entry entry, Dim grid, Dim block, size_t dynamic_shared_bytes, void **arguments) {
    const unsigned long long threads = 1ull * block.x * block.y * block.z;
    if (threads == 0 || threads > MOST_THREADS || dynamic_shared_bytes > MOST_SHARED_BYTES ||
        grid.y > 65535 || grid.z > 65535) {
        fprintf(stderr, "no GPU runs blocks of %llu threads with %zu bytes in a grid of (%u, %u, %u)\n",
                threads, dynamic_shared_bytes, grid.x, grid.y, grid.z);
        abort();
    }
    static Pool *pool = new Pool;
    Work work = {entry, grid, block, dynamic_shared_bytes, arguments, {}, 1ull * grid.x * grid.y * grid.z};
    pool->run(work);
}

void meet(Together together, unsigned mask, Lanes lanes, void *operand) {
    own->meet(together, mask, lanes, operand);
}

void wait_for_block() {
    own->wait_for_block();
}

unsigned current_lane() {
    return own->fiber().index % LANES;
}

void begin_copy(void *shared, const void *global, bool valid) {
    if ((reinterpret_cast<size_t>(shared) | reinterpret_cast<size_t>(global)) % 16 != 0) {
        own->fail("a copy of 16 bytes from %p to %p", global, shared);
    }
    Fiber &fiber = own->fiber();
    const Copy copy = {shared, global, valid, fiber.copy_groups};
    if (fiber.index % 2 == 1) {
        make(copy);
    } else {
        fiber.copies.push_back(copy);
    }
}

void end_copy_group() {
    own->fiber().copy_groups++;
}

void finish_copies(unsigned pending) {
    Fiber &fiber = own->fiber();
    auto copy = fiber.copies.begin();
    for (; copy != fiber.copies.end() && copy->group + pending < fiber.copy_groups; copy++) {
        make(*copy);
    }
    fiber.copies.erase(fiber.copies.begin(), copy);
}

}  // namespace emulator
