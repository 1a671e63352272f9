// What the parts of the driver share: streams that may capture a graph, and graphs.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <vector>

#include "device.h"

namespace emulator {

struct Graph {
    std::vector<std::function<void()>> operations;
};

struct Stream {
    Graph *captured = nullptr; // the graph that is being captured, or null
    void *context = nullptr;   // of the stream's GPU
    std::vector<std::function<void()>> copies; // copies from the host that are yet to be made
};

// Runs an operation of a stream, or keeps it for the graph that the stream captures.
void run(void *stream, std::function<void()> operation);

// Sets the counter of sums that are being submitted among the GPUs with which the calling thread's GPU is connected.
void adds_up_with(std::shared_ptr<std::atomic<int>> sums);

} // namespace emulator
