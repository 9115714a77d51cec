#include "messages.h"

#include <google/protobuf/util/json_util.h>

#include <algorithm>

#include "refusal.pb.h"

namespace tfaas {
namespace {

constexpr long ok = 200;

/// What the server says in `{"error": ".."}`, as one line; empty when it says nothing of the kind.
std::string stated_error(const std::string& body) {
    google::protobuf::util::JsonParseOptions options;
    options.ignore_unknown_fields = true;
    Refusal refusal;
    const auto parsed = google::protobuf::util::JsonStringToMessage(body, &refusal, options);
    if (!parsed.ok()) {
        return {};
    }
    std::string error = refusal.error();
    std::replace(error.begin(), error.end(), '\n', ' ');
    return error;
}

}  // namespace

Result<std::string> encode_row(
    const std::string& model, const std::vector<std::string>& keys, const std::vector<float>& values) {
    if (!keys.empty() && keys.size() != values.size()) {
        return Error{
            "expected a value for each key, got " + std::to_string(keys.size()) + " keys and " +
            std::to_string(values.size()) + " values"};
    }
    tfaaspb::Row row;
    row.set_model(model);
    for (const auto& key : keys) {
        row.add_key(key);
    }
    row.mutable_value()->Add(values.begin(), values.end());
    std::string bytes;
    if (!row.SerializeToString(&bytes)) {
        return Error{"the event is too large to be sent"};
    }
    return bytes;
}

Result<tfaaspb::Predictions> decode_predictions(const std::string& url, const Answer& answer) {
    if (answer.status != ok) {
        const auto message = stated_error(answer.body);
        return Error{
            message.empty() ? url + " answered with status " + std::to_string(answer.status) : message,
            answer.status};
    }
    tfaaspb::Predictions predictions;
    if (!predictions.ParseFromString(answer.body)) {
        return Error{url + " did not answer with predictions", answer.status};
    }
    return predictions;
}

}  // namespace tfaas
