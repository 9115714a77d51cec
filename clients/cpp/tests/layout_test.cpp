#include "layout.h"

#include <cmath>
#include <limits>

#include "check.h"

using tfaas::Column;
using tfaas::internal::Json;
using tfaas::internal::Layout;
using tfaas::Order;
using tfaas::Span;

namespace {

const Json description = *Json::parse(
    R"({"features": [{"name": "met", "kind": "flat", "dim": 1}, {"name": "jet_pt", "kind": "jagged", "dim": 2}]})");

bool same(const std::vector<float>& left, const std::vector<float>& right) {
    const auto equal = [](float a, float b) { return a == b || (std::isnan(a) && std::isnan(b)); };
    return std::equal(left.begin(), left.end(), right.begin(), right.end(), equal);
}

void names_that_do_not_fit_are_listed_beside_what_is_expected() {
    const auto expected = "signal:1 expects met, jet_pt (jagged, up to 2)";
    const auto mismatch = [](const std::vector<std::string>& branches) {
        return Layout::bind("signal:1", description, branches).error().message;
    };
    for (const auto& branches : std::vector<std::vector<std::string>>{{"met"}, {"met", "jet"}, {"met", "met", "jet_pt"}}) {
        CHECK(holds(mismatch(branches), expected));
    }
    CHECK(holds(mismatch({"met", "jet"}), "unknown branch 'jet', missing branch 'jet_pt'"));
    CHECK(holds(mismatch({"met", "met", "jet_pt"}), "branch 'met' is given twice"));
    CHECK(mismatch({}).empty());
    CHECK(mismatch({"jet_pt", "met"}).empty());
}

void branches_are_counted_where_the_model_names_no_features() {
    const auto unnamed = *Json::parse(R"({"signature": {"inputs": [{"shape": [null, 2, 3]}, {"shape": ["N"]}]}})");
    CHECK(Layout::bind("m:1", unnamed, {}).value().width() == 7);
    std::vector<float> rows;
    const std::vector<float> by_column{1, 8, 2, 9, 3, 10, 4, 11, 5, 12, 6, 13, 7, 14};
    Layout::bind("m:1", unnamed, {}).value().gather(by_column, Order::column_major, 1, 2, rows);
    CHECK(same(rows, {8, 9, 10, 11, 12, 13, 14}));
    CHECK(holds(Layout::bind("m:1", unnamed, {"a"}).error().message, "1 branches: m:1 expects 7 values"));
    for (const auto* nonsense : {"{}", "[]", R"({"features": [{"name": "a", "dim": 1e300}]})",
                                 R"({"features": [], "signature": {"inputs": [{"shape": [1, 1e9, 1e9]}]}})"}) {
        const auto refused = Layout::bind("m:1", *Json::parse(nonsense), {});
        CHECK(holds(refused.error().message, "does not say what m:1 expects"));
    }
}

void a_modulo_is_told_with_its_feature() {
    const auto folds = *Json::parse(R"({"features": [{"name": "met", "dim": 1}, {"name": "event", "dim": 1, "modulo": 5}]})");
    const auto features = Layout::bind("m:1", folds, {"event", "met"}).value().features();
    CHECK(features[0].modulo == 5 && features[1].modulo == 0);
}

void numbers_take_the_places_of_the_model() {
    const auto layout = Layout::bind("m:1", description, {"jet_pt", "met"}).value();
    CHECK(!layout.keeps_order());
    std::vector<float> rows;
    const std::vector<float> by_row{1, 2, 3, 4, 5, 6, 7, 8, 9};
    layout.gather(by_row, Order::row_major, 1, 3, rows);
    CHECK(same(rows, {6, 4, 5, 9, 7, 8}));
    const std::vector<float> by_column{1, 4, 7, 2, 5, 8, 3, 6, 9};
    layout.gather(by_column, Order::column_major, 1, 3, rows);
    CHECK(same(rows, {6, 4, 5, 9, 7, 8}));
    CHECK(holds(layout.count(Span<float>(by_row.data(), 8)).error().message, "8 values are no whole events of 3"));
}

void jagged_columns_are_padded_and_cut() {
    const auto layout = Layout::bind("m:1", description, {"jet_pt", "met"}).value();
    const std::vector<float> jets{1, 2, 3, 4};
    const std::vector<std::int64_t> offsets{0, 0, 3, 4};
    const std::vector<float> met{10, 20, 30};
    const std::vector<Column> columns{{jets, offsets}, {met, {}}};
    CHECK(layout.count(columns).value() == 3);
    constexpr auto none = std::numeric_limits<float>::quiet_NaN();
    std::vector<float> rows;
    layout.gather(columns, 0, 3, rows);
    CHECK(same(rows, {10, none, none, 20, 1, 2, 30, 4, none}));
}

void columns_that_do_not_fit_are_refused() {
    const auto layout = Layout::bind("m:1", description, {}).value();
    const std::vector<float> two{1, 2};
    const std::vector<std::int64_t> good{0, 1, 2};
    const auto refusal = [&](const std::vector<Column>& columns) { return layout.count(columns).error().message; };
    CHECK(refusal({{two, {}}, {two, good}}).empty());
    CHECK(holds(refusal({{two, {}}}), "1 columns: m:1 expects met"));
    CHECK(holds(refusal({{two, {}}, {two, {}}}), "'jet_pt' has no offsets"));
    CHECK(holds(refusal({{two, good}, {two, good}}), "'met' has offsets"));
    CHECK(holds(refusal({{Span<float>(two.data(), 1), {}}, {two, good}}), "'jet_pt' has 2 events"));
    for (const auto& offsets : std::vector<std::vector<std::int64_t>>{{0, 1, 3}, {-1, 1, 2}, {0, 2, 1}}) {
        CHECK(holds(refusal({{two, {}}, {two, offsets}}), "fall or lie outside its 2 values"));
    }
}

}  // namespace

int main() {
    names_that_do_not_fit_are_listed_beside_what_is_expected();
    branches_are_counted_where_the_model_names_no_features();
    a_modulo_is_told_with_its_feature();
    numbers_take_the_places_of_the_model();
    jagged_columns_are_padded_and_cut();
    columns_that_do_not_fit_are_refused();
    return failed_checks != 0;
}
