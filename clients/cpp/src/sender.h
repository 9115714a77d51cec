/// Requests that survive lost connections and busy servers.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <string>
#include <vector>

#include "tfaas/options.h"
#include "tfaas/result.h"
#include "transport.h"

namespace tfaas::internal {

/// Asks the servers at its addresses, again where that may help and one after the other, until the deadline.
class Sender {
public:
    /// `urls` are separated by commas.
    Sender(const std::string& urls, const Options& options);

    /// An answer of any status, or why there is none.
    Result<Answer> send(const Request& request);

    /// The same, but another status than 200 is an error with what the server says.
    Result<Answer> ask(const Request& request);

    /// Ends what is on its way, within a second or so.
    void close();

private:
    using Clock = std::chrono::steady_clock;

    bool pause(int round, std::chrono::seconds least, Clock::time_point deadline);

    std::vector<std::string> urls_;
    std::chrono::milliseconds timeout_;
    int retries_;
    Transport transport_;
    std::atomic<std::size_t> preferred_{0};
    std::mutex mutex_;
    std::condition_variable closing_;
    bool closed_ = false;
};

}  // namespace tfaas::internal
