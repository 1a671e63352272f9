// What the driver's parts share: streams that may capture a graph, and graphs.
#pragma once

#include <functional>
#include <vector>

#include "device.h"

namespace emulator {

struct Graph {
    std::vector<std::function<void()>> operations;
};

struct Stream {
    Graph *captured = nullptr; // while one is captured
    void *context = nullptr;   // of the GPU that it is of
};

// Runs an operation of a stream, or keeps it for the graph that the stream captures.
void run(void *stream, std::function<void()> operation);

} // namespace emulator
