/// Scores of a model as columns of ROOT's RDataFrame.
///
/// Includes nothing of ROOT: a jagged column is whatever has `begin()` and `end()`, such as `ROOT::RVec`.
#pragma once

#include <cstddef>
#include <cstdint>
#include <future>
#include <limits>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "tfaas/model.h"

namespace tfaas {
namespace internal {

template <typename Column, typename = void>
inline constexpr bool is_jagged = false;

template <typename Column>
inline constexpr bool is_jagged<Column, std::void_t<decltype(std::declval<const Column&>().begin())>> = true;

template <typename Integer>
bool is_negative(Integer number) {
    if constexpr (std::is_signed_v<Integer>) {
        return number < 0;
    }
    return false;
}

/// Throws std::invalid_argument where the types of the columns are not what the model was bound to.
template <typename... Columns>
void check_columns(const Model& model) {
    const auto& features = model.features();
    const auto expected = features.empty() ? model.width() : features.size();
    if (sizeof...(Columns) != expected) {
        throw std::invalid_argument(
            std::to_string(sizeof...(Columns)) + " columns: expected " + std::to_string(expected) + " for " +
            (model.name().empty() ? "a model that is not bound" : model.name()));
    }
    const std::vector<bool> jagged{is_jagged<Columns>...};
    for (std::size_t i = 0; i < features.size(); ++i) {
        if (jagged[i] != features[i].jagged) {
            throw std::invalid_argument(
                "column " + features[i].name + ": expected " +
                (features[i].jagged ? "a collection, the feature is jagged" : "a number, the feature is flat"));
        }
    }
}

/// Appends one column of one event; the places of objects that are not there hold NaN.
template <typename Column>
void append(std::vector<float>& row, const Column& column, const Feature& feature) {
    if constexpr (is_jagged<Column>) {
        const auto end = row.size() + feature.dim;
        for (auto object = column.begin(); object != column.end() && row.size() < end; ++object) {
            row.push_back(static_cast<float>(*object));
        }
        row.resize(end, std::numeric_limits<float>::quiet_NaN());
    } else if constexpr (std::is_integral_v<Column>) {
        // Divided while it has all its digits; what is negative is left for the server to refuse.
        if (feature.modulo > 0 && !is_negative(column)) {
            row.push_back(static_cast<float>(static_cast<std::uint64_t>(column) % feature.modulo));
        } else {
            row.push_back(static_cast<float>(column));
        }
    } else {
        row.push_back(static_cast<float>(column));
    }
}

/// Appends one event, each column of which belongs to the feature in its place.
template <typename... Columns>
void append_event(std::vector<float>& row, const Model& model, const Columns&... columns) {
    static const Feature number;
    const auto* feature = model.features().data();
    const auto next = [&]() -> const Feature& { return model.features().empty() ? number : *feature++; };
    (append(row, columns, next()), ...);
}

}  // namespace internal

/// All outputs of a model for one event, for `Define`; `Columns` are the types of its columns.
///
/// Threads may share one. An event loop has no place for a failure but an exception: the call throws
/// std::runtime_error with the reason, the constructor std::invalid_argument where the columns don't fit the model.
template <typename... Columns>
class Scores {
public:
    explicit Scores(Model model) : model_(std::move(model)) { internal::check_columns<Columns...>(model_); }

    std::vector<float> operator()(const Columns&... columns) const {
        std::vector<float> row;
        row.reserve(model_.width());
        internal::append_event(row, model_, columns...);
        auto predictions = model_.predict(row);
        if (!predictions) {
            throw std::runtime_error(predictions.error().message);
        }
        return std::move(predictions).value().values;
    }

private:
    Model model_;
};

/// One output of a model for one event, else as `Scores`.
template <typename... Columns>
class Score {
public:
    explicit Score(Model model, std::size_t output = 0) : scores_(std::move(model)), output_(output) {}

    float operator()(const Columns&... columns) const {
        const auto outputs = scores_(columns...);
        if (output_ >= outputs.size()) {
            throw std::runtime_error(
                "output " + std::to_string(output_) + ": the model has " + std::to_string(outputs.size()));
        }
        return outputs[output_];
    }

private:
    Scores<Columns...> scores_;
    std::size_t output_;
};

/// Scores events that come one after the other in large batches, one of which travels while the next one fills.
///
/// Holds two batches and the scores. Not for several threads: they would mix the order of the events.
template <typename... Columns>
class Bulk {
public:
    static constexpr std::size_t default_batch = 100'000;

    /// Throws std::invalid_argument where the columns don't fit the model.
    explicit Bulk(Model model, std::size_t batch = default_batch) : model_(std::move(model)), batch_(batch) {
        internal::check_columns<Columns...>(model_);
        rows_.reserve(batch_ * model_.width());
    }

    /// Takes one event. After a failure, which `finish` returns, events are ignored.
    void add(const Columns&... columns) {
        if (!error_.message.empty()) {
            return;
        }
        internal::append_event(rows_, model_, columns...);
        if (rows_.size() >= batch_ * model_.width()) {
            send();
        }
    }

    /// The scores of all events, in their order; the next event begins anew.
    [[nodiscard]] Result<Predictions> finish() {
        send();
        collect();
        auto scores = std::exchange(scores_, {});
        auto error = std::exchange(error_, {});
        if (!error.message.empty()) {
            return error;
        }
        return scores;
    }

private:
    void send() {
        collect();
        if (!rows_.empty()) {
            pending_ = model_.predictAsync(std::exchange(rows_, {}));
            rows_.reserve(batch_ * model_.width());
        }
    }

    void collect() {
        if (!pending_.valid()) {
            return;
        }
        const auto batch = pending_.get();
        if (!batch) {
            error_ = batch.error();
            rows_.clear();
            return;
        }
        scores_.outputs = batch.value().outputs;
        scores_.values.insert(scores_.values.end(), batch.value().values.begin(), batch.value().values.end());
    }

    Model model_;
    std::size_t batch_;
    std::vector<float> rows_;
    std::future<Result<Predictions>> pending_;
    Predictions scores_;
    Error error_;
};

/// Scores all events of `frame` and writes them as the tree `tree` of `file`, to be attached as a friend.
///
/// `Frame` is ROOT::RDataFrame, `Columns` are the types of the columns `names`. The branch `column` is a float, or a
/// vector of them where the model has several outputs. Gives the number of events. ROOT's implicit multi-threading must
/// be off: a friend needs the order of the events.
template <typename Frame, typename... Columns, typename Events>
[[nodiscard]] Result<std::size_t> write_friend(
    Events& frame, const Model& model, const std::vector<std::string>& names, const std::string& tree,
    const std::string& file, const std::string& column = "score") {
    Bulk<Columns...> bulk(model);
    frame.Foreach([&bulk](const Columns&... columns) { bulk.add(columns...); }, names);
    const auto scores = bulk.finish();
    if (!scores) {
        return scores.error();
    }
    const auto& all = scores.value();
    const auto one = [&all](unsigned long long event) { return all(event); };
    const auto several = [&all](unsigned long long event) {
        return std::vector<float>(all[event].begin(), all[event].end());
    };
    const std::vector<std::string> entry{"rdfentry_"};
    if (all.outputs > 1) {
        Frame(all.events()).Define(column, several, entry).Snapshot(tree, file, {column});
    } else {
        Frame(all.events()).Define(column, one, entry).Snapshot(tree, file, {column});
    }
    return all.events();
}

}  // namespace tfaas
