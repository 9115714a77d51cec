/// A few threads that work off tasks.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace tfaas::internal {

class Workers {
public:
    /// At most `most` threads, which are started when there is work for them.
    explicit Workers(std::size_t most);
    ~Workers();
    Workers(const Workers&) = delete;
    Workers& operator=(const Workers&) = delete;

    /// Has `task(false)` called by a thread, or `task(true)` when all ends before that. Tasks don't throw.
    ///
    /// Throws std::system_error where not a single thread can be had.
    void submit(std::function<void(bool too_late)> task);

private:
    void work();

    std::size_t most_;
    std::mutex mutex_;
    std::condition_variable changed_;
    std::deque<std::function<void(bool)>> tasks_;
    std::vector<std::thread> threads_;
    std::size_t idle_ = 0;
    bool ending_ = false;
};

}  // namespace tfaas::internal
