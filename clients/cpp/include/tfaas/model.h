#pragma once

#include <cstddef>
#include <cstdint>
#include <future>
#include <memory>
#include <string>
#include <vector>

#include "tfaas/predictions.h"
#include "tfaas/result.h"
#include "tfaas/span.h"

namespace tfaas {

/// A named input of a model: one number an event, or up to `dim` where it is jagged.
struct Feature {
    std::string name;
    bool jagged = false;
    std::size_t dim = 1;
    /// The model takes the remainder of an integer, such as the number of an event; 0 where it takes the number itself.
    /// A float holds no large number: `static_cast<float>(event % modulo)` is what to give.
    std::uint64_t modulo = 0;
};

/// How the numbers of a batch lie in memory: all of an event side by side, or all of a column.
enum class Order { row_major, column_major };

/// One branch of many events.
struct Column {
    /// All objects of all events, one after the other; of a flat branch one number an event.
    Span<float> values;
    /// Of a jagged branch: event `i` has the values from `offsets[i]` up to `offsets[i + 1]`. Empty for a flat one.
    Span<std::int64_t> offsets;
};

/// One version of a model, with the names of the branches that the caller has for it.
///
/// Made by `Client::model`, which checks the names. Threads may share one; it works on after its client is gone.
/// Failures are returned, never thrown.
class Model {
public:
    /// A model that answers everything with an error, until a bound one is assigned.
    Model() = default;

    /// The bound version as `name:3`: an alias that moves later does not change what answers.
    [[nodiscard]] const std::string& name() const noexcept;

    /// What an event consists of, in the order of the branches; empty where the model declares nothing.
    [[nodiscard]] const std::vector<Feature>& features() const noexcept;

    /// Numbers an event, `dim` for each feature.
    [[nodiscard]] std::size_t width() const noexcept;

    /// The outputs for events × `width()` numbers, each branch in its place, jagged ones padded with NaN.
    ///
    /// One event is one quick request. More of them travel in chunks of `Options::chunk_events`, several at a time; the
    /// first chunk that fails ends the batch with its error. No events are no error.
    [[nodiscard]] Result<Predictions> predict(Span<float> values, Order order = Order::row_major) const;

    /// The same for a column for each branch. Objects past a feature's `dim` are left out.
    [[nodiscard]] Result<Predictions> predict(const std::vector<Column>& columns) const;

    /// `predict` by another thread. What waits when the last model and the client are gone ends with an error.
    [[nodiscard]] std::future<Result<Predictions>> predictAsync(
        std::vector<float> values, Order order = Order::row_major) const;

private:
    friend class Client;
    class Bound;
    explicit Model(std::shared_ptr<const Bound> bound) noexcept;

    std::shared_ptr<const Bound> bound_;
};

}  // namespace tfaas
