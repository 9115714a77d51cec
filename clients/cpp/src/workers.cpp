#include "workers.h"

#include <algorithm>
#include <system_error>
#include <utility>

namespace tfaas::internal {

Workers::Workers(std::size_t most) : most_(std::max<std::size_t>(1, most)) {}

Workers::~Workers() {
    {
        const std::lock_guard lock(mutex_);
        ending_ = true;
    }
    changed_.notify_all();
    for (auto& thread : threads_) {
        thread.join();
    }
    for (const auto& task : tasks_) {
        task(true);
    }
}

void Workers::submit(std::function<void(bool)> task) {
    const std::lock_guard lock(mutex_);
    if (idle_ < tasks_.size() + 1 && threads_.size() < most_) {
        try {
            threads_.emplace_back([this] { work(); });
        } catch (const std::system_error&) {
            if (threads_.empty()) {
                throw;
            }
        }
    }
    tasks_.push_back(std::move(task));
    changed_.notify_one();
}

void Workers::work() {
    std::unique_lock lock(mutex_);
    for (;;) {
        ++idle_;
        changed_.wait(lock, [this] { return ending_ || !tasks_.empty(); });
        --idle_;
        if (ending_) {
            return;
        }
        const auto task = std::move(tasks_.front());
        tasks_.pop_front();
        lock.unlock();
        task(false);
        lock.lock();
    }
}

}  // namespace tfaas::internal
