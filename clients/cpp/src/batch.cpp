#include "batch.h"

#include <algorithm>
#include <cstring>
#include <exception>
#include <system_error>
#include <utility>

namespace tfaas::internal {
namespace {

constexpr std::size_t most_chunk_bytes = 4U << 20U;
constexpr auto raw = "application/octet-stream";

}  // namespace

Batch::Batch(Core& core, Events events)
    : core_(core),
      events_(std::move(events)),
      chunk_(std::clamp<std::size_t>(most_chunk_bytes / (sizeof(float) * events_.width), 1, core.chunk_events)) {}

Result<Predictions> Batch::predict() {
    const auto chunks = (events_.count + chunk_ - 1) / chunk_;
    if (chunks > 1) {
        call_helpers(std::min(chunks, core_.connections) - 1);
    }
    work();
    std::unique_lock lock(mutex_);
    left_.wait(lock, [this] { return working_ == 0; });
    if (error_) {
        return *error_;
    }
    return std::move(predictions_);
}

void Batch::call_helpers(std::size_t count) {
    try {
        for (std::size_t helper = 0; helper < count; ++helper) {
            core_.workers.submit([batch = shared_from_this()](bool too_late) {
                if (!too_late) {
                    batch->work();
                }
            });
        }
    } catch (const std::system_error&) {
        // No thread can be had: the caller's does all the work.
    }
}

void Batch::work() noexcept {
    std::size_t first = 0;
    std::size_t last = 0;
    std::vector<float> rows;
    while (claim(first, last)) {
        try {
            leave(send(first, last, rows));
        } catch (const std::exception& exception) {
            leave(Error{exception.what()});
        }
    }
}

/// Takes the next chunk; false when there is none left, or no use in it.
bool Batch::claim(std::size_t& first, std::size_t& last) {
    const std::lock_guard lock(mutex_);
    if (error_ || claimed_ == events_.count) {
        return false;
    }
    first = claimed_;
    last = claimed_ = std::min(events_.count, first + chunk_);
    ++working_;
    return true;
}

std::optional<Error> Batch::send(std::size_t first, std::size_t last, std::vector<float>& rows) {
    const auto events = events_.gather(first, last, rows);
    const std::string_view body(reinterpret_cast<const char*>(events.data()), sizeof(float) * events.size());
    const auto shape = std::to_string(last - first) + "," + std::to_string(events_.width);
    const auto answer =
        core_.sender.ask({"/predict/batch?model=" + events_.model + "&shape=" + shape, raw, body});
    auto error = answer ? store(answer.value(), first, last) : std::optional(answer.error());
    if (error && events_.count > chunk_) {
        error->message =
            "events " + std::to_string(first) + " to " + std::to_string(last - 1) + ": " + error->message;
    }
    return error;
}

std::optional<Error> Batch::store(const Answer& answer, std::size_t first, std::size_t last) {
    const auto numbers = answer.body.size() / sizeof(float);
    const auto outputs = numbers / (last - first);
    if (answer.content_type != raw || outputs == 0 || answer.body.size() != sizeof(float) * outputs * (last - first)) {
        return Error{
            answer.url + " did not answer with numbers for " + std::to_string(last - first) + " events but with " +
                std::to_string(answer.body.size()) + " bytes of " +
                (answer.content_type.empty() ? "no content type" : answer.content_type),
            answer.status};
    }
    {
        const std::lock_guard lock(mutex_);
        if (predictions_.outputs == 0) {
            predictions_.outputs = outputs;
            predictions_.values.resize(events_.count * outputs);
        }
    }
    if (outputs != predictions_.outputs) {
        return Error{
            answer.url + " answered with " + std::to_string(outputs) + " outputs after " +
                std::to_string(predictions_.outputs),
            answer.status};
    }
    std::memcpy(predictions_.values.data() + first * outputs, answer.body.data(), answer.body.size());
    return std::nullopt;
}

void Batch::leave(std::optional<Error> error) noexcept {
    const std::lock_guard lock(mutex_);
    if (error && !error_) {
        error_ = std::move(error);
    }
    --working_;
    left_.notify_all();
}

}  // namespace tfaas::internal
