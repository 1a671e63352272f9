// NCCL's interface, as far as the host code calls it: sums over GPUs, each of which is driven by a thread of its own.
//
// A call returns when its sum is done, so that it waits for the other GPUs' threads where a GPU's stream would. The
// first GPU's call returns before the others', as it may on real GPUs, so that calls that must not be made meanwhile
// are detected.

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <cstring>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "driver.h"

namespace {

enum Status { SUCCESS = 0, INVALID_ARGUMENT = 4 };
enum Type { F32 = 7, BF16 = 9 };
constexpr int SUM = 0;

// The delay of other GPUs' calls after the first one's.
constexpr auto LATER = std::chrono::milliseconds(1);

std::vector<float> read(const void *numbers, size_t count, int type) {
    std::vector<float> wide(count);
    if (type == F32)
        memcpy(wide.data(), numbers, count * 4);
    else
        for (size_t index = 0; index < count; index++) wide[index] = to_float(static_cast<const bf16 *>(numbers)[index]);
    return wide;
}

void write(void *numbers, const std::vector<float> &wide, int type) {
    if (type == F32)
        memcpy(numbers, wide.data(), wide.size() * 4);
    else
        for (size_t index = 0; index < wide.size(); index++) static_cast<bf16 *>(numbers)[index] = to_bf16(wide[index]);
}

// Connected GPUs.
class Group {
  public:
    std::atomic<int> asking{0}; // calls that have not returned

    explicit Group(size_t gpus) : addends(gpus) {}

    // Returns the sums of all GPUs' numbers, added in the order of their ranks.
    std::vector<float> sum(size_t rank, std::vector<float> numbers) {
        std::unique_lock<std::mutex> guard(lock);
        const uint64_t own_round = round;
        addends[rank] = std::move(numbers);
        if (++arrived == addends.size()) {
            total.assign(addends[0].size(), 0);
            for (const std::vector<float> &addend : addends)
                for (size_t index = 0; index < total.size(); index++) total[index] += addend[index];
            arrived = 0;
            round++;
            changed.notify_all();
        }
        changed.wait(guard, [&] { return round != own_round || aborted; });
        return total;
    }

    void abort() {
        std::lock_guard<std::mutex> guard(lock);
        aborted = true;
        changed.notify_all();
    }

  private:
    std::mutex lock;
    std::condition_variable changed;
    std::vector<std::vector<float>> addends; // of each GPU
    std::vector<float> total;                // of the latest sum, which all have read before the next one is done
    size_t arrived = 0;
    uint64_t round = 0;
    bool aborted = false;
};

struct Communicator {
    std::shared_ptr<Group> group;
    size_t rank;
};

} // namespace

extern "C" {

int ncclCommInitAll(void **communicators, int gpus, const int *) {
    if (gpus < 1) return INVALID_ARGUMENT;
    auto group = std::make_shared<Group>(gpus);
    for (int rank = 0; rank < gpus; rank++) communicators[rank] = new Communicator{group, size_t(rank)};
    return SUCCESS;
}

int ncclCommAbort(void *communicator) {
    Communicator *own = static_cast<Communicator *>(communicator);
    own->group->abort();
    delete own;
    return SUCCESS;
}

int ncclAllReduce(const void *from, void *to, size_t count, int type, int operation, void *communicator, void *stream) {
    if ((type != F32 && type != BF16) || operation != SUM) return INVALID_ARGUMENT;
    Communicator own = *static_cast<Communicator *>(communicator);
    std::shared_ptr<std::atomic<int>> asking(own.group, &own.group->asking);
    ++*asking;
    emulator::run(stream, [=] { write(to, own.group->sum(own.rank, read(from, count, type)), type); });
    if (own.rank > 0) std::this_thread::sleep_for(LATER);
    --*asking;
    emulator::adds_up_with(asking);
    return SUCCESS;
}
}
