/// A batch on its way: chunks that several threads send.
#pragma once

#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "core.h"
#include "tfaas/predictions.h"
#include "tfaas/result.h"
#include "tfaas/span.h"

namespace tfaas::internal {

/// Rows of the model for the events from `first` up to `last`; may hold them in `rows`.
using Gather = std::function<Span<float>(std::size_t first, std::size_t last, std::vector<float>& rows)>;

/// What is to be sent.
struct Events {
    std::string model;
    std::size_t count;
    std::size_t width;
    Gather gather;
};

/// Chunks that are claimed one by one by whoever is free.
///
/// The caller's thread works as the others do, so that a batch gets on although all workers wait for batches.
class Batch : public std::enable_shared_from_this<Batch> {
public:
    Batch(Core& core, Events events);

    Result<Predictions> predict();

private:
    void call_helpers(std::size_t count);
    void work() noexcept;
    bool claim(std::size_t& first, std::size_t& last);
    std::optional<Error> send(std::size_t first, std::size_t last, std::vector<float>& rows);
    std::optional<Error> store(const Answer& answer, std::size_t first, std::size_t last);
    void leave(std::optional<Error> error) noexcept;

    Core& core_;
    const Events events_;
    const std::size_t chunk_;
    std::mutex mutex_;
    std::condition_variable left_;
    std::size_t claimed_ = 0;
    std::size_t working_ = 0;
    std::optional<Error> error_;
    Predictions predictions_;
};

}  // namespace tfaas::internal
