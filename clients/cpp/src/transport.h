/// HTTP over libcurl.
#pragma once

#include <curl/curl.h>

#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "tfaas/client.h"
#include "tfaas/result.h"

namespace tfaas {

struct Answer {
    long status = 0;
    std::string body;
};

/// Posts bytes over connections that it keeps open; threads may share one.
class Transport {
public:
    Transport();

    Result<Answer> post(const std::string& url, const std::string& body, const Options& options);

private:
    struct Cleanup {
        void operator()(CURL* handle) const noexcept { curl_easy_cleanup(handle); }
    };
    using Handle = std::unique_ptr<CURL, Cleanup>;

    Handle take();
    void give_back(Handle handle);

    std::mutex mutex_;
    std::vector<Handle> idle_;
};

}  // namespace tfaas
