/// Scores the same events in every way that a bound model has, and prints for each how many scores are right.
///
/// Arguments: the server, the model, the number of events.

#include <tfaas/client.h>
#include <tfaas/rdataframe.h>

#include <iostream>
#include <string>

#include "sigmoid.h"

namespace {

void show(const std::string& way, const tfaas::Result<tfaas::Predictions>& scores, const std::vector<Event>& events) {
    std::size_t right = 0;
    for (std::size_t event = 0; event < scores.value().events(); ++event) {
        right += is_close(scores.value()(event), events[event]) ? 1 : 0;
    }
    std::cout << way << ' ' << right << ' ' << scores.error().message << '\n';
}

std::vector<float> column_major(const std::vector<float>& rows) {
    std::vector<float> columns;
    for (std::size_t column = 0; column < 3; ++column) {
        for (std::size_t i = column; i < rows.size(); i += 3) {
            columns.push_back(rows[i]);
        }
    }
    return columns;
}

}  // namespace

int main(int, char** arguments) {
    std::vector<Event> events;
    std::vector<float> rows;
    std::vector<float> met;
    std::vector<float> jet_pt;
    std::vector<std::int64_t> offsets{0};
    for (int number = 0; number < std::stoi(arguments[3]); ++number) {
        events.push_back(make_event(number));
        const auto& event = events.back();
        const auto row = as_row(event);
        rows.insert(rows.end(), row.begin(), row.end());
        met.push_back(event.met);
        jet_pt.insert(jet_pt.end(), event.jet_pt.begin(), event.jet_pt.end());
        offsets.push_back(static_cast<std::int64_t>(jet_pt.size()));
    }
    const tfaas::Client client(arguments[1]);
    const auto model = client.model(arguments[2]).value();
    show("rows", model.predict(rows), events);
    show("columns", model.predict(column_major(rows), tfaas::Order::column_major), events);
    show("future", model.predictAsync(rows).get(), events);
    const auto turned = client.model(arguments[2], {"jet_pt", "met"}).value();
    show("jagged", turned.predict({{jet_pt, offsets}, {met, {}}}), events);
    tfaas::Bulk<std::vector<float>, float> bulk(turned, 30'000);
    for (const auto& event : events) {
        bulk.add(event.jet_pt, event.met);
    }
    show("bulk", bulk.finish(), events);
}
