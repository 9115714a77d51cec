#include "transport.h"

#include <signal.h>  // NOLINT(modernize-deprecated-headers): the C++ one has no signal masks
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <exception>
#include <utility>

namespace tfaas::internal {
namespace {

constexpr std::size_t most_idle_handles = 64;
constexpr long most_redirects = 5;
constexpr std::chrono::milliseconds connect_timeout{5000};
// What a batch is answered with is far smaller; a server that never stops sending must not fill the memory.
constexpr std::size_t most_answer_bytes = 256U << 20U;
// Batches travel in larger pieces than libcurl's own.
constexpr std::size_t large_body = 64U << 10U;
constexpr long large_buffer = 512L << 10U;
constexpr long upload_buffer = 64L << 10U;
constexpr long answer_buffer = 16L << 10U;

void initialise_curl_once() {
    static std::once_flag once;
    std::call_once(once, [] { curl_global_init(CURL_GLOBAL_DEFAULT); });
}

std::size_t append_body(char* data, std::size_t size, std::size_t count, void* target) noexcept {
    try {
        auto& body = *static_cast<std::string*>(target);
        if (body.size() + size * count > most_answer_bytes) {
            return 0;  // fewer bytes than given: libcurl ends the transfer with an error
        }
        body.append(data, size * count);
        return size * count;
    } catch (const std::exception&) {
        return 0;
    }
}

int end_if_closed(void* closed, curl_off_t, curl_off_t, curl_off_t, curl_off_t) noexcept {
    return static_cast<std::atomic<bool>*>(closed)->load() ? 1 : 0;
}

bool is_folder(const std::string& path) {
    struct stat status {};
    return stat(path.c_str(), &status) == 0 && S_ISDIR(status.st_mode);
}

void set_text(CURL* handle, CURLoption option, const std::string& text) {
    if (!text.empty()) {
        curl_easy_setopt(handle, option, text.c_str());
    }
}

bool is_loss(CURLcode outcome) {
    switch (outcome) {
        case CURLE_COULDNT_RESOLVE_HOST:
        case CURLE_COULDNT_CONNECT:
        case CURLE_OPERATION_TIMEDOUT:
        case CURLE_GOT_NOTHING:
        case CURLE_PARTIAL_FILE:
        case CURLE_SEND_ERROR:
        case CURLE_RECV_ERROR:
        case CURLE_SSL_CONNECT_ERROR:
            return true;
        default:
            return false;
    }
}

/// Keeps SIGPIPE from this thread as long as it lives: some versions of libcurl raise it where TLS is cut off.
class SigpipeBlocked {
public:
    SigpipeBlocked() noexcept {
        sigemptyset(&signals_);
        sigaddset(&signals_, SIGPIPE);
        sigset_t pending;
        sigpending(&pending);
        was_pending_ = sigismember(&pending, SIGPIPE) == 1;
        pthread_sigmask(SIG_BLOCK, &signals_, &before_);
    }

    ~SigpipeBlocked() {
        sigset_t pending;
        sigpending(&pending);
        if (!was_pending_ && sigismember(&pending, SIGPIPE) == 1) {
            const timespec at_once{};
            sigtimedwait(&signals_, nullptr, &at_once);
        }
        pthread_sigmask(SIG_SETMASK, &before_, nullptr);
    }

    SigpipeBlocked(const SigpipeBlocked&) = delete;
    SigpipeBlocked& operator=(const SigpipeBlocked&) = delete;

private:
    sigset_t signals_{};
    sigset_t before_{};
    bool was_pending_ = false;
};

struct FreeHeaders {
    void operator()(curl_slist* headers) const noexcept { curl_slist_free_all(headers); }
};
using Headers = std::unique_ptr<curl_slist, FreeHeaders>;

Headers make_headers(const Request& request) {
    // Waiting for a 100 Continue costs a round trip for each batch.
    Headers headers(curl_slist_append(nullptr, "Expect:"));
    if (!request.content_type.empty()) {
        const auto line = "Content-Type: " + request.content_type;
        if (headers && curl_slist_append(headers.get(), line.c_str()) == nullptr) {
            headers.reset();
        }
    }
    return headers;
}

/// Makes it a GET or a POST, whatever the handle was used for before.
void set_body(CURL* handle, const Request& request) {
    if (request.content_type.empty()) {
        curl_easy_setopt(handle, CURLOPT_HTTPGET, 1L);
    } else {
        curl_easy_setopt(handle, CURLOPT_POST, 1L);
        curl_easy_setopt(handle, CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(request.body.size()));
        curl_easy_setopt(handle, CURLOPT_POSTFIELDS, request.body.data());
    }
    const bool large = request.body.size() > large_body;
    curl_easy_setopt(handle, CURLOPT_UPLOAD_BUFFERSIZE, large ? large_buffer : upload_buffer);
    curl_easy_setopt(handle, CURLOPT_BUFFERSIZE, large ? large_buffer : answer_buffer);
}

std::string reason_of(CURLcode outcome, const char* details) {
    if (outcome == CURLE_WRITE_ERROR) {
        return "the answer has more than " + std::to_string(most_answer_bytes >> 20U) + " MiB, or finds no memory";
    }
    return *details != '\0' ? details : curl_easy_strerror(outcome);
}

CURLcode perform(CURL* handle) {
    const SigpipeBlocked blocked;
    return curl_easy_perform(handle);
}

void read_information(CURL* handle, Answer& answer) {
    curl_easy_getinfo(handle, CURLINFO_RESPONSE_CODE, &answer.status);
    const char* content_type = nullptr;
    if (curl_easy_getinfo(handle, CURLINFO_CONTENT_TYPE, &content_type) == CURLE_OK && content_type != nullptr) {
        answer.content_type = content_type;
    }
#if LIBCURL_VERSION_NUM >= 0x074200  // 7.66; older ones don't tell
    curl_off_t seconds = 0;
    curl_easy_getinfo(handle, CURLINFO_RETRY_AFTER, &seconds);
    answer.retry_after = std::chrono::seconds(seconds);
#endif
}

}  // namespace

Transport::Transport(Options options)
    : options_(std::move(options)),
      authorities_(is_folder(options_.authorities) ? CURLOPT_CAPATH : CURLOPT_CAINFO) {
    initialise_curl_once();
}

Attempt Transport::send(const std::string& url, const Request& request, std::chrono::milliseconds timeout) {
    // The handle refers to these three until it is used again.
    Attempt attempt;
    std::array<char, CURL_ERROR_SIZE> reason{};
    const auto headers = make_headers(request);
    auto handle = take();
    if (!handle || !headers) {
        attempt.failure = "libcurl has no memory for a request";
        return attempt;
    }
    // libcurl takes zero for no limit.
    curl_easy_setopt(handle.get(), CURLOPT_TIMEOUT_MS, std::max(1L, static_cast<long>(timeout.count())));
    curl_easy_setopt(handle.get(), CURLOPT_ERRORBUFFER, reason.data());
    curl_easy_setopt(handle.get(), CURLOPT_URL, (url + request.path).c_str());
    curl_easy_setopt(handle.get(), CURLOPT_HTTPHEADER, headers.get());
    curl_easy_setopt(handle.get(), CURLOPT_WRITEDATA, &attempt.answer.body);
    set_body(handle.get(), request);
    const auto outcome = perform(handle.get());
    if (outcome == CURLE_OK) {
        read_information(handle.get(), attempt.answer);
    } else {
        attempt.failure = reason_of(outcome, reason.data());
        attempt.lost = is_loss(outcome);
    }
    give_back(std::move(handle));
    return attempt;
}

Transport::Handle Transport::take() {
    {
        const std::lock_guard lock(mutex_);
        if (!idle_.empty()) {
            auto handle = std::move(idle_.back());
            idle_.pop_back();
            return handle;
        }
    }
    return make_handle();
}

/// A handle with what all requests have in common: to set it for each one takes longer than to send a small one.
Transport::Handle Transport::make_handle() {
    Handle made(curl_easy_init());
    CURL* handle = made.get();
    if (handle == nullptr) {
        return made;
    }
    curl_easy_setopt(handle, CURLOPT_CONNECTTIMEOUT_MS, static_cast<long>(connect_timeout.count()));
    curl_easy_setopt(handle, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(handle, CURLOPT_NOPROGRESS, 0L);
    curl_easy_setopt(handle, CURLOPT_XFERINFOFUNCTION, end_if_closed);
    curl_easy_setopt(handle, CURLOPT_XFERINFODATA, &closed_);
    curl_easy_setopt(handle, CURLOPT_WRITEFUNCTION, append_body);
    curl_easy_setopt(handle, CURLOPT_FOLLOWLOCATION, 1L);
    curl_easy_setopt(handle, CURLOPT_MAXREDIRS, most_redirects);
    curl_easy_setopt(handle, CURLOPT_POSTREDIR, static_cast<long>(CURL_REDIR_POST_ALL));
    curl_easy_setopt(handle, CURLOPT_USERAGENT, "tfaas-cpp");
    curl_easy_setopt(handle, CURLOPT_SSL_VERIFYPEER, options_.verify ? 1L : 0L);
    curl_easy_setopt(handle, CURLOPT_SSL_VERIFYHOST, options_.verify ? 2L : 0L);
    set_text(handle, CURLOPT_SSLCERT, options_.certificate);
    set_text(handle, CURLOPT_SSLKEY, options_.key.empty() ? options_.certificate : options_.key);
    set_text(handle, authorities_, options_.authorities);
    if (!options_.token.empty()) {
        curl_easy_setopt(handle, CURLOPT_HTTPAUTH, static_cast<long>(CURLAUTH_BEARER));
        curl_easy_setopt(handle, CURLOPT_XOAUTH2_BEARER, options_.token.c_str());
    }
    return made;
}

void Transport::give_back(Handle handle) {
    // libcurl may report there while it closes the connection; the rest it looks at only when it sends.
    curl_easy_setopt(handle.get(), CURLOPT_ERRORBUFFER, nullptr);
    const std::lock_guard lock(mutex_);
    if (idle_.size() < most_idle_handles) {
        idle_.push_back(std::move(handle));
    }
}

}  // namespace tfaas::internal
