#include "tfaas/client.h"

#include <cstdlib>
#include <exception>
#include <utility>

#include "messages.h"
#include "transport.h"

namespace tfaas {
namespace {

std::string environment(const char* name) {
    const char* value = std::getenv(name);
    return value == nullptr ? std::string() : value;
}

}  // namespace

Options options_from_environment() {
    Options options;
    options.token = environment("TFAAS_TOKEN");
    options.certificate = environment("X509_USER_PROXY");
    options.authorities = environment("X509_CERT_DIR");
    return options;
}

class Client::Connection {
public:
    Connection(std::string url, Options options) : url_(std::move(url)), options_(std::move(options)) {
        while (!url_.empty() && url_.back() == '/') {
            url_.pop_back();
        }
        url_ += "/proto";
    }

    Result<tfaaspb::Predictions> predict(
        const std::string& model, const std::vector<std::string>& keys, const std::vector<float>& values) {
        const auto body = encode_row(model, keys, values);
        if (!body) {
            return body.error();
        }
        const auto answer = transport_.post(url_, body.value(), options_);
        if (!answer) {
            return answer.error();
        }
        return decode_predictions(url_, answer.value());
    }

private:
    std::string url_;
    Options options_;
    Transport transport_;
};

Client::Client(std::string url, Options options)
    : connection_(std::make_unique<Connection>(std::move(url), std::move(options))) {}

Client::~Client() = default;
Client::Client(Client&&) noexcept = default;
Client& Client::operator=(Client&&) noexcept = default;

Result<tfaaspb::Predictions> Client::predict(
    const std::string& model, const std::vector<std::string>& keys, const std::vector<float>& values) const {
    if (!connection_) {
        return Error{"the client has been moved from"};
    }
    try {
        return connection_->predict(model, keys, values);
    } catch (const std::exception& exception) {
        return Error{exception.what()};
    }
}

}  // namespace tfaas
