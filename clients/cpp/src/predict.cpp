#include "tfaas/predict.h"

#include <exception>
#include <map>
#include <memory>
#include <mutex>
#include <utility>

#include "sender.h"
#include "tfaas/options.h"

namespace {

/// The sender for an endpoint, made when it is first asked and kept: the caller has nowhere to keep it.
tfaas::internal::Sender& sender(const std::string& url) {
    static std::mutex mutex;
    // Never destroyed: threads may still ask when the process ends.
    static auto& senders = *new std::map<std::string, std::unique_ptr<tfaas::internal::Sender>>;
    const std::lock_guard lock(mutex);
    auto& sender = senders[url];
    if (!sender) {
        sender = std::make_unique<tfaas::internal::Sender>(url, tfaas::options_from_environment());
    }
    return *sender;
}

/// Written at once, so that the lines of several threads do not mix.
void report(const std::string& message) { std::cerr << "tfaas: " + message + "\n"; }

tfaas::Result<tfaaspb::Predictions> post(const std::string& url, const std::string& body) {
    const auto answer = sender(url).ask({"", "application/x-protobuf", body});
    if (!answer) {
        return answer.error();
    }
    tfaaspb::Predictions predictions;
    if (!predictions.ParseFromString(answer.value().body)) {
        return tfaas::Error{url + " did not answer with predictions", answer.value().status};
    }
    return predictions;
}

}  // namespace

tfaaspb::Predictions tfaasRequest(const std::string& url, const std::string& input) {
    try {
        auto predictions = post(url, input);
        if (predictions) {
            return std::move(predictions).value();
        }
        report(predictions.error().message);
    } catch (const std::exception& exception) {
        report(exception.what());
    }
    return {};
}

tfaaspb::Predictions predict(
    const std::string& url, const std::string& model, const std::vector<std::string>& attrs,
    const std::vector<float>& values) {
    if (attrs.size() != values.size() && !attrs.empty()) {
        report(
            "expected a value for each key, got " + std::to_string(attrs.size()) + " keys and " +
            std::to_string(values.size()) + " values");
        return {};
    }
    tfaaspb::Row row;
    row.set_model(model);
    for (const auto& key : attrs) {
        row.add_key(key);
    }
    row.mutable_value()->Add(values.begin(), values.end());
    std::string body;
    if (!row.SerializeToString(&body)) {
        report("the event is too large to be sent");
        return {};
    }
    return tfaasRequest(url, body);
}
