/// What a client and its models share, and what goes on until the last of them is gone.
#pragma once

#include <algorithm>
#include <string>

#include "sender.h"
#include "tfaas/options.h"
#include "workers.h"

namespace tfaas::internal {

class Core {
public:
    Core(const std::string& urls, const Options& options)
        : sender(urls, options),
          connections(std::max<std::size_t>(1, options.connections)),
          chunk_events(std::max<std::size_t>(1, options.chunk_events)),
          workers(connections) {}
    ~Core() { sender.close(); }
    Core(const Core&) = delete;
    Core& operator=(const Core&) = delete;

    Sender sender;
    const std::size_t connections;
    const std::size_t chunk_events;
    Workers workers;  // uses what is above, so it goes first
};

}  // namespace tfaas::internal
