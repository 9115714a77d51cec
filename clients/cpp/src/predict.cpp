#include "tfaas/predict.h"

#include <exception>
#include <utility>

#include "messages.h"
#include "transport.h"

namespace {

tfaas::Result<tfaaspb::Predictions> post(const std::string& url, const std::string& body) {
    static tfaas::Transport transport;
    const auto answer = transport.post(url, body, tfaas::options_from_environment());
    if (!answer) {
        return answer.error();
    }
    return tfaas::decode_predictions(url, answer.value());
}

/// Written at once, so that the lines of several threads do not mix.
void report(const std::string& message) { std::cerr << "tfaas: " + message + "\n"; }

/// What `ask` returns, or an empty answer after a line on standard error.
template <typename Ask>
tfaaspb::Predictions or_report(Ask ask) {
    try {
        auto predictions = ask();
        if (predictions) {
            return std::move(predictions).value();
        }
        report(predictions.error().message);
    } catch (const std::exception& exception) {
        report(exception.what());
    }
    return {};
}

}  // namespace

tfaaspb::Predictions tfaasRequest(const std::string& url, const std::string& input) {
    return or_report([&] { return post(url, input); });
}

tfaaspb::Predictions predict(
    const std::string& url, const std::string& model, const std::vector<std::string>& attrs,
    const std::vector<float>& values) {
    return or_report([&]() -> tfaas::Result<tfaaspb::Predictions> {
        const auto row = tfaas::encode_row(model, attrs, values);
        if (!row) {
            return row.error();
        }
        return post(url, row.value());
    });
}
