#include "layout.h"

#include <algorithm>
#include <limits>

namespace tfaas::internal {
namespace {

constexpr std::size_t most_shown_features = 50;
// More than the server takes in a request; what a broken one says must not become a demand for memory.
constexpr std::size_t widest_event = 1U << 26U;
constexpr double widest_number = 2.0 * widest_event;

std::vector<Feature> read_features(const Json& description) {
    std::vector<Feature> features;
    for (const auto& feature : description["features"].items()) {
        const auto dim = static_cast<std::size_t>(std::clamp(feature["dim"].number(), 1.0, widest_number));
        const auto modulo = static_cast<std::uint64_t>(std::clamp(feature["modulo"].number(), 0.0, widest_number));
        features.push_back({feature["name"].text(), feature["kind"].text() == "jagged", dim, modulo});
    }
    return features;
}

/// Numbers an event in all inputs together; every dimension but the first is fixed.
std::size_t read_width(const Json& description) {
    double width = 0;
    for (const auto& input : description["signature"]["inputs"].items()) {
        double numbers = 1;
        const auto& shape = input["shape"].items();
        for (std::size_t i = 1; i < shape.size(); ++i) {
            numbers *= shape[i].number();
        }
        width += numbers;
    }
    return static_cast<std::size_t>(std::clamp(width, 0.0, widest_number));
}

std::string join(const std::vector<std::string>& texts) {
    std::string joined;
    for (const auto& text : texts) {
        joined += (joined.empty() ? "" : ", ") + text;
    }
    return joined;
}

std::string quoted(const std::string& text) { return "'" + text + "'"; }

}  // namespace

Result<Layout> Layout::bind(
    const std::string& name, const Json& description, const std::vector<std::string>& branches) {
    Layout layout;
    layout.name_ = name;
    layout.features_ = read_features(description);
    for (const auto& feature : layout.features_) {
        layout.starts_.push_back(layout.width_);
        layout.width_ += feature.dim;
    }
    if (layout.features_.empty()) {
        layout.width_ = read_width(description);
    }
    if (layout.width_ == 0 || layout.width_ > widest_event) {
        return Error{"the server does not say what " + name + " expects"};
    }
    if (auto wrong = layout.mismatch(branches); !wrong.empty()) {
        return Error{std::move(wrong)};
    }
    if (!branches.empty() && !layout.features_.empty()) {
        layout.reorder(branches);
    }
    return layout;
}

/// From the order of the model to that of the branches, which are all its features.
void Layout::reorder(const std::vector<std::string>& branches) {
    const auto features = std::move(features_);
    const auto starts = std::move(starts_);
    features_.clear();
    starts_.clear();
    for (const auto& branch : branches) {
        const auto is_meant = [&](const Feature& feature) { return feature.name == branch; };
        const auto found = std::find_if(features.begin(), features.end(), is_meant);
        features_.push_back(*found);
        starts_.push_back(starts[static_cast<std::size_t>(found - features.begin())]);
    }
    keeps_order_ = std::is_sorted(starts_.begin(), starts_.end());
}

/// What is wrong with the names, if anything.
std::string Layout::mismatch(const std::vector<std::string>& branches) const {
    if (branches.empty()) {
        return {};
    }
    if (features_.empty()) {
        return branches.size() == width_ ? std::string()
                                         : std::to_string(branches.size()) + " branches: " + expected();
    }
    std::vector<std::string> problems;
    for (auto branch = branches.begin(); branch != branches.end(); ++branch) {
        const auto is_meant = [&](const Feature& feature) { return feature.name == *branch; };
        if (std::none_of(features_.begin(), features_.end(), is_meant)) {
            problems.push_back("unknown branch " + quoted(*branch));
        } else if (std::find(branches.begin(), branch, *branch) != branch) {
            problems.push_back("branch " + quoted(*branch) + " is given twice");
        }
    }
    for (const auto& feature : features_) {
        if (std::find(branches.begin(), branches.end(), feature.name) == branches.end()) {
            problems.push_back("missing branch " + quoted(feature.name));
        }
    }
    if (problems.size() > most_shown_features) {
        problems.resize(most_shown_features);
        problems.emplace_back("and more");
    }
    return problems.empty() ? std::string() : join(problems) + ": " + expected();
}

std::string Layout::expected() const {
    if (features_.empty()) {
        return name_ + " expects " + std::to_string(width_) + " values";
    }
    std::vector<std::string> names;
    for (const auto& feature : features_) {
        if (names.size() == most_shown_features) {
            names.push_back("and " + std::to_string(features_.size() - names.size()) + " more");
            break;
        }
        names.push_back(feature.name + (feature.jagged ? " (jagged, up to " + std::to_string(feature.dim) + ")" : ""));
    }
    return name_ + " expects " + join(names);
}

Result<std::size_t> Layout::count(Span<float> values) const {
    if (values.size() % width_ != 0) {
        return Error{
            std::to_string(values.size()) + " values are no whole events of " + std::to_string(width_) + ": " +
            expected()};
    }
    return values.size() / width_;
}

Result<std::size_t> Layout::count(const std::vector<Column>& columns) const {
    if (features_.empty() ? columns.size() != width_ : columns.size() != features_.size()) {
        return Error{std::to_string(columns.size()) + " columns: " + expected()};
    }
    std::size_t events = 0;
    for (std::size_t i = 0; i < columns.size(); ++i) {
        const auto feature = features_.empty() ? Feature{std::to_string(i)} : features_[i];
        auto counted = count_column(columns[i], feature);
        if (!counted) {
            return counted;
        }
        if (i > 0 && counted.value() != events) {
            return Error{
                "column " + quoted(feature.name) + " has " + std::to_string(counted.value()) +
                " events and the one before it " + std::to_string(events) + ": expected as many in each"};
        }
        events = counted.value();
    }
    return events;
}

Result<std::size_t> Layout::count_column(const Column& column, const Feature& feature) {
    if (!feature.jagged) {
        return column.offsets.empty()
                   ? Result<std::size_t>(column.values.size())
                   : Error{"column " + quoted(feature.name) + " has offsets: expected none, the feature is flat"};
    }
    if (column.offsets.empty()) {
        return Error{
            "column " + quoted(feature.name) + " has no offsets: expected events + 1 of them, the feature is jagged"};
    }
    const auto size = static_cast<std::int64_t>(column.values.size());
    const auto last = column.offsets[column.offsets.size() - 1];
    if (column.offsets[0] < 0 || last > size || !std::is_sorted(column.offsets.begin(), column.offsets.end())) {
        return Error{
            "column " + quoted(feature.name) + " has offsets that fall or lie outside its " + std::to_string(size) +
            " values"};
    }
    return column.offsets.size() - 1;
}

void Layout::gather(
    Span<float> values, Order order, std::size_t first, std::size_t last, std::vector<float>& rows) const {
    const auto events = values.size() / width_;
    const auto event_stride = order == Order::row_major ? width_ : 1;
    const auto column_stride = order == Order::row_major ? 1 : events;
    rows.resize((last - first) * width_);
    std::size_t column = 0;
    const auto copy_column = [&](std::size_t place) {
        const float* from = values.data() + first * event_stride + column++ * column_stride;
        float* to = rows.data() + place;
        for (std::size_t event = first; event < last; ++event, from += event_stride, to += width_) {
            *to = *from;
        }
    };
    for (std::size_t i = 0; i < features_.size(); ++i) {
        for (std::size_t object = 0; object < features_[i].dim; ++object) {
            copy_column(starts_[i] + object);
        }
    }
    while (column < width_) {  // where the model names no features
        copy_column(column);
    }
}

void Layout::gather(
    const std::vector<Column>& columns, std::size_t first, std::size_t last, std::vector<float>& rows) const {
    rows.assign((last - first) * width_, std::numeric_limits<float>::quiet_NaN());
    for (std::size_t i = 0; i < columns.size(); ++i) {
        const auto& [values, offsets] = columns[i];
        float* to = rows.data() + (features_.empty() ? i : starts_[i]);
        for (std::size_t event = first; event < last; ++event, to += width_) {
            if (offsets.empty()) {
                *to = values[event];
                continue;
            }
            const auto objects = static_cast<std::size_t>(offsets[event + 1] - offsets[event]);
            std::copy_n(values.data() + offsets[event], std::min(objects, features_[i].dim), to);
        }
    }
}

}  // namespace tfaas::internal
