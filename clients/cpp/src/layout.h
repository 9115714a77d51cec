/// From what the caller has to what the model takes.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "json.h"
#include "tfaas/model.h"
#include "tfaas/result.h"

namespace tfaas::internal {

/// Where each branch of the caller stands in the input of one version of a model.
class Layout {
public:
    Layout() = default;

    /// `description` is what the server says about the version, `branches` as in `Client::model`.
    static Result<Layout> bind(
        const std::string& name, const Json& description, const std::vector<std::string>& branches);

    [[nodiscard]] const std::vector<Feature>& features() const noexcept { return features_; }
    [[nodiscard]] std::size_t width() const noexcept { return width_; }

    /// Whether rows of the caller are rows of the model.
    [[nodiscard]] bool keeps_order() const noexcept { return keeps_order_; }

    /// Number of events in a batch of numbers, or why it is none.
    [[nodiscard]] Result<std::size_t> count(Span<float> values) const;

    /// Number of events in columns, or what is wrong with them.
    [[nodiscard]] Result<std::size_t> count(const std::vector<Column>& columns) const;

    /// Events from `first` up to `last` as rows of the model, which replace those in `rows`.
    void gather(
        Span<float> values, Order order, std::size_t first, std::size_t last, std::vector<float>& rows) const;
    void gather(
        const std::vector<Column>& columns, std::size_t first, std::size_t last, std::vector<float>& rows) const;

private:
    void reorder(const std::vector<std::string>& branches);
    [[nodiscard]] std::string mismatch(const std::vector<std::string>& branches) const;
    [[nodiscard]] std::string expected() const;
    static Result<std::size_t> count_column(const Column& column, const Feature& feature);

    std::string name_;
    std::vector<Feature> features_;    // in the order of the branches
    std::vector<std::size_t> starts_;  // of each feature among the model's columns
    std::size_t width_ = 0;
    bool keeps_order_ = true;
};

}  // namespace tfaas::internal
