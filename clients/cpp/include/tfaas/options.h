#pragma once

#include <chrono>
#include <cstddef>
#include <string>

namespace tfaas {

struct Options {
    /// Time for the whole of one request, all its attempts and the pauses between them included.
    std::chrono::milliseconds timeout = std::chrono::seconds(30);
    /// How often all addresses are asked again after 502, 503, 504 or the loss of a connection. The pauses between grow
    /// from 0.1 s to 5 s and are shortened at random by up to a half. A server that is busy and says Retry-After is asked
    /// as often as the timeout allows.
    int retries = 4;
    /// Requests that a batch has in flight at a time, and threads of `predictAsync`.
    std::size_t connections = 4;
    /// Most events of a batch in one request, less where they are more than 4 MiB. The server must answer them within the
    /// timeout, and within its own.
    std::size_t chunk_events = 10'000;
    /// Bearer token; empty to present none.
    std::string token;
    /// False trusts any server.
    bool verify = true;
    /// Client certificate, such as an X.509 proxy, and its key in PEM; an empty key is looked for in the certificate's
    /// file.
    std::string certificate;
    std::string key;
    /// Trusted authorities, a file or a folder; empty for those of the system.
    std::string authorities;
};

/// Options with what the environment says: bearer token TFAAS_TOKEN, grid certificate X509_USER_PROXY, and trusted
/// authorities X509_CERT_DIR.
[[nodiscard]] Options options_from_environment();

}  // namespace tfaas
