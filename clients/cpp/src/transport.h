/// HTTP over libcurl.
#pragma once

#include <curl/curl.h>

#include <atomic>
#include <chrono>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "tfaas/options.h"

namespace tfaas::internal {

/// A GET where there is no content type, else a POST.
struct Request {
    std::string path;
    std::string content_type;
    std::string_view body;
};

struct Answer {
    /// Where it came from.
    std::string url;
    long status = 0;
    std::string content_type;
    std::string body;
    /// What the server asks for before the next attempt.
    std::chrono::seconds retry_after{0};
};

/// What became of one attempt.
struct Attempt {
    Answer answer;
    /// Why there is no answer; empty when there is one.
    std::string failure;
    /// Whether the connection or the patience was lost, which another attempt may mend.
    bool lost = false;
};

/// Sends single requests over connections that it keeps open; threads may share one.
class Transport {
public:
    explicit Transport(Options options);

    Attempt send(const std::string& url, const Request& request, std::chrono::milliseconds timeout);

    /// Ends what is on its way, within a second or so.
    void close() noexcept { closed_ = true; }

private:
    struct Cleanup {
        void operator()(CURL* handle) const noexcept { curl_easy_cleanup(handle); }
    };
    using Handle = std::unique_ptr<CURL, Cleanup>;

    Handle take();
    Handle make_handle();
    void give_back(Handle handle);

    const Options options_;
    const CURLoption authorities_;  // a folder or a file
    std::atomic<bool> closed_{false};
    std::mutex mutex_;
    std::vector<Handle> idle_;
};

}  // namespace tfaas::internal
