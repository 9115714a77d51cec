#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "tfaas.pb.h"
#include "tfaas/result.h"

namespace tfaas {

struct Options {
    /// Time for the whole of one request.
    std::chrono::milliseconds timeout = std::chrono::seconds(30);
    /// Bearer token; empty to present none.
    std::string token;
    /// False trusts any server.
    bool verify = true;
    /// Client certificate and its key in PEM; an empty key is looked for in the certificate's file.
    std::string certificate;
    std::string key;
    /// Trusted authorities, a file or a folder; empty for those of the system.
    std::string authorities;
};

/// Options with what the environment says: bearer token TFAAS_TOKEN, grid certificate X509_USER_PROXY, and trusted
/// authorities X509_CERT_DIR.
[[nodiscard]] Options options_from_environment();

/// Asks one inference server for predictions, over connections that it keeps open.
///
/// Threads may share one client. Failures are returned, never thrown.
class Client {
public:
    /// `url` is the base of the server, such as `http://localhost:8083`.
    explicit Client(std::string url, Options options = {});
    ~Client();
    Client(Client&&) noexcept;
    Client& operator=(Client&&) noexcept;

    /// The outputs of a model for one event.
    ///
    /// `model` is `name`, `name:version` or `name@alias`. `values[i]` belongs to the feature `keys[i]`; a jagged
    /// feature repeats its key for each of its objects, and is named once with NaN when it has none. Without
    /// keys the values are in the model's order.
    Result<tfaaspb::Predictions> predict(
        const std::string& model, const std::vector<std::string>& keys, const std::vector<float>& values) const;

private:
    class Connection;
    std::unique_ptr<Connection> connection_;
};

}  // namespace tfaas
