/// A bound model: rows, batches, columns and futures.

#include <limits>

#include "check.h"
#include "summing_server.h"
#include "tfaas/client.h"

using tfaas::Client;
using tfaas::Column;
using tfaas::Order;

namespace {

constexpr auto none = std::numeric_limits<float>::quiet_NaN();
constexpr std::size_t many = 123'457;  // a dozen chunks and a bit

void names_are_bound_once_and_to_a_version(const Client& client) {
    const auto model = client.model("sum@best", {"jet_pt", "met"});
    CHECK(model && model.value().name() == "sum:7" && model.value().width() == 3);
    CHECK(model.value().features()[0].name == "jet_pt" && model.value().features()[0].dim == 2);
    const auto wrong = client.model("sum", {"met", "jet_eta"});
    CHECK(holds(wrong.error().message, "unknown branch 'jet_eta', missing branch 'jet_pt': sum:7 expects met, jet_pt"));
    for (const auto* reference : {"", ":3", "sum:", "@best", "..", ".:1"}) {
        CHECK(holds(client.model(reference).error().message, "names no model: expected name, name:version or name@alias"));
    }
    CHECK(holds(wrong.value().predict({1, 2}).error().message, "not bound"));
    CHECK(holds(wrong.value().predictAsync({}).get().error().message, "not bound"));
}

void one_event_is_answered(const Client& client) {
    const auto model = client.model("sum", {"jet_pt", "met"}).value();
    const auto answer = model.predict({2, none, 1});
    CHECK(answer && answer.value().outputs == 2 && answer.value()(0, 0) == 21 && answer.value()(0, 1) == 42);
    CHECK(holds(model.predict({1, 2}).error().message, "2 values are no whole events of 3"));
    CHECK(model.predict(std::vector<float>{}).value().events() == 0);
}

std::vector<float> numbers() {
    std::vector<float> rows(3 * many);
    for (std::size_t i = 0; i < rows.size(); ++i) {
        rows[i] = static_cast<float>(i % 1009);
    }
    return rows;
}

std::vector<float> transposed(const std::vector<float>& rows) {
    std::vector<float> columns(rows.size());
    for (std::size_t i = 0; i < rows.size(); ++i) {
        columns[(i % 3) * many + i / 3] = rows[i];
    }
    return columns;
}

void batches_come_back_in_order_whatever_theirs_is(const Client& client) {
    const auto rows = numbers();
    const auto expected = sums(rows.data(), many);
    const auto model = client.model("sum").value();
    CHECK(model.predict(rows).value().values == expected);
    CHECK(model.predict(transposed(rows), Order::column_major).value().values == expected);
    CHECK(model.predictAsync(rows).get().value().values == expected);
    std::vector<float> turned(rows.size());
    for (std::size_t event = 0; event < many; ++event) {
        turned[3 * event] = rows[3 * event + 1];
        turned[3 * event + 1] = rows[3 * event + 2];
        turned[3 * event + 2] = rows[3 * event];
    }
    CHECK(client.model("sum", {"jet_pt", "met"}).value().predict(turned).value().values == expected);
}

void jagged_columns_are_values_and_offsets(const Client& client) {
    std::vector<float> met(many, 1);
    std::vector<float> jets;
    std::vector<std::int64_t> offsets{0};
    for (std::size_t event = 0; event < many; ++event) {
        jets.insert(jets.end(), event % 4, 2);
        offsets.push_back(static_cast<std::int64_t>(jets.size()));
    }
    const auto answer = client.model("sum", {"jet_pt", "met"}).value().predict({{jets, offsets}, {met, {}}});
    CHECK(answer && answer.value().events() == many);
    const float expected[] = {1, 21, 221, 221};
    std::size_t right = 0;
    for (std::size_t event = 0; event < many; ++event) {
        right += answer.value()(event) == expected[event % 4] ? 1 : 0;
    }
    CHECK(right == many);
}

void more_futures_than_connections_are_answered(const Client& client) {
    const auto model = client.model("sum").value();
    std::vector<std::future<tfaas::Result<tfaas::Predictions>>> futures;
    const auto rows = numbers();
    for (int i = 0; i < 20; ++i) {
        futures.push_back(model.predictAsync({rows.begin(), rows.begin() + 3 * 25'000}));
    }
    for (auto& future : futures) {
        CHECK(future.get().value().values == sums(rows.data(), 25'000));
    }
}

void chunks_have_the_size_that_is_wanted(const LittleServer& server) {
    tfaas::Options options;
    options.chunk_events = 100;
    options.connections = 3;
    const auto model = Client(server.url, options).model("sum").value();
    const auto rows = numbers();
    const int before = server.requests;
    CHECK(model.predict(tfaas::Span<float>(rows.data(), std::size_t{3} * 950)).value().events() == 950);
    CHECK(server.requests - before == 10);
}

void a_chunk_that_fails_ends_the_batch(const Client& client) {
    auto rows = numbers();
    rows[std::size_t{3} * 20'000] = none;
    const auto answer = client.model("sum").value().predict(rows);
    CHECK(answer.error().status == 400 && answer.value().values.empty());
    CHECK(holds(answer.error().message, "events 20000 to 29999: event 0: value 'met' is missing"));
}

}  // namespace

int main() {
    LittleServer server(answer_sums);
    const Client client(server.url);
    names_are_bound_once_and_to_a_version(client);
    one_event_is_answered(client);
    batches_come_back_in_order_whatever_theirs_is(client);
    jagged_columns_are_values_and_offsets(client);
    more_futures_than_connections_are_answered(client);
    chunks_have_the_size_that_is_wanted(server);
    a_chunk_that_fails_ends_the_batch(client);
    return failed_checks != 0;
}
