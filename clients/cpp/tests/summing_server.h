/// A server with the model `sum` of a flat feature `met` and a jagged one `jet_pt` with up to two objects.
///
/// It answers met + 10 jet_pt[0] + 100 jet_pt[1], objects that are not there counting as 0, and that times two.
#pragma once

#include <cmath>
#include <cstring>

#include "little_server.h"
#include "tfaas.pb.h"

inline std::vector<float> sums(const float* rows, std::size_t count) {
    std::vector<float> outputs;
    for (std::size_t event = 0; event < count; ++event, rows += 3) {
        const auto present = [](float value) { return std::isnan(value) ? 0 : value; };
        const float sum = rows[0] + 10 * present(rows[1]) + 100 * present(rows[2]);
        outputs.insert(outputs.end(), {sum, 2 * sum});
    }
    return outputs;
}

inline std::string answer_sums(const Received& request) {
    if (request.path == "/models/sum/aliases/best" || request.path == "/models/sum/aliases/latest") {
        return response(200, R"({"name": "sum", "version": 7, "features": [{"name": "met", "kind": "flat", "dim": 1},
            {"name": "jet_pt", "kind": "jagged", "dim": 2}]})");
    }
    if (request.path == "/proto") {
        tfaaspb::Row row;
        if (!row.ParseFromString(request.body) || row.model() != "sum:7" || row.value_size() != 3) {
            return response(400, R"({"error": "expected sum:7 and three values"})");
        }
        tfaaspb::Predictions predictions;
        for (const float output : sums(row.value().data(), 1)) {
            predictions.add_prediction()->set_probability(output);
        }
        return response(200, predictions.SerializeAsString(), "application/octet-stream");
    }
    const auto count = request.body.size() / 12;
    if (request.path != "/predict/batch?model=sum%3A7&shape=" + std::to_string(count) + ",3") {
        return response(404, R"({"error": "expected a batch for sum:7"})");
    }
    std::vector<float> rows(3 * count);
    std::memcpy(rows.data(), request.body.data(), request.body.size());
    if (std::isnan(rows[0])) {
        return response(400, R"({"error": "event 0: value 'met' is missing"})");
    }
    const auto outputs = sums(rows.data(), count);
    return response(
        200, std::string(reinterpret_cast<const char*>(outputs.data()), sizeof(float) * outputs.size()),
        "application/octet-stream");
}
