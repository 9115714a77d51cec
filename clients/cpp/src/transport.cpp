#include "transport.h"

#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <exception>
#include <utility>

namespace tfaas {
namespace {

constexpr std::size_t most_idle_handles = 16;
constexpr long most_redirects = 5;

void initialise_curl_once() {
    static std::once_flag once;
    std::call_once(once, [] { curl_global_init(CURL_GLOBAL_DEFAULT); });
}

std::size_t append(char* data, std::size_t size, std::size_t count, void* body) noexcept {
    try {
        static_cast<std::string*>(body)->append(data, size * count);
        return size * count;
    } catch (const std::exception&) {
        return 0;  // fewer bytes than given: libcurl ends the transfer with an error
    }
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

void set_options(CURL* handle, const Options& options) {
    // libcurl takes zero for no limit.
    curl_easy_setopt(handle, CURLOPT_TIMEOUT_MS, std::max(1L, static_cast<long>(options.timeout.count())));
    curl_easy_setopt(handle, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(handle, CURLOPT_FOLLOWLOCATION, 1L);
    curl_easy_setopt(handle, CURLOPT_MAXREDIRS, most_redirects);
    curl_easy_setopt(handle, CURLOPT_POSTREDIR, static_cast<long>(CURL_REDIR_POST_ALL));
    curl_easy_setopt(handle, CURLOPT_USERAGENT, "tfaas-cpp");
    curl_easy_setopt(handle, CURLOPT_SSL_VERIFYPEER, options.verify ? 1L : 0L);
    curl_easy_setopt(handle, CURLOPT_SSL_VERIFYHOST, options.verify ? 2L : 0L);
    set_text(handle, CURLOPT_SSLCERT, options.certificate);
    set_text(handle, CURLOPT_SSLKEY, options.key.empty() ? options.certificate : options.key);
    set_text(handle, is_folder(options.authorities) ? CURLOPT_CAPATH : CURLOPT_CAINFO, options.authorities);
    if (!options.token.empty()) {
        curl_easy_setopt(handle, CURLOPT_HTTPAUTH, static_cast<long>(CURLAUTH_BEARER));
        curl_easy_setopt(handle, CURLOPT_XOAUTH2_BEARER, options.token.c_str());
    }
}

struct FreeHeaders {
    void operator()(curl_slist* headers) const noexcept { curl_slist_free_all(headers); }
};

}  // namespace

Transport::Transport() { initialise_curl_once(); }

Result<Answer> Transport::post(const std::string& url, const std::string& body, const Options& options) {
    // The handle refers to these three, so it goes first: it is declared last.
    Answer answer;
    std::array<char, CURL_ERROR_SIZE> reason{};
    const std::unique_ptr<curl_slist, FreeHeaders> headers(
        curl_slist_append(nullptr, "Content-Type: application/x-protobuf"));
    auto handle = take();
    if (!handle || !headers) {
        return Error{"libcurl has no memory for a request"};
    }
    set_options(handle.get(), options);
    curl_easy_setopt(handle.get(), CURLOPT_ERRORBUFFER, reason.data());
    curl_easy_setopt(handle.get(), CURLOPT_URL, url.c_str());
    curl_easy_setopt(handle.get(), CURLOPT_HTTPHEADER, headers.get());
    curl_easy_setopt(handle.get(), CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(body.size()));
    curl_easy_setopt(handle.get(), CURLOPT_POSTFIELDS, body.data());
    curl_easy_setopt(handle.get(), CURLOPT_WRITEFUNCTION, append);
    curl_easy_setopt(handle.get(), CURLOPT_WRITEDATA, &answer.body);
    const auto outcome = curl_easy_perform(handle.get());
    if (outcome != CURLE_OK) {
        return Error{url + ": " + (reason[0] != '\0' ? reason.data() : curl_easy_strerror(outcome))};
    }
    curl_easy_getinfo(handle.get(), CURLINFO_RESPONSE_CODE, &answer.status);
    give_back(std::move(handle));
    return answer;
}

Transport::Handle Transport::take() {
    const std::lock_guard lock(mutex_);
    if (idle_.empty()) {
        return Handle(curl_easy_init());
    }
    auto handle = std::move(idle_.back());
    idle_.pop_back();
    return handle;
}

void Transport::give_back(Handle handle) {
    curl_easy_reset(handle.get());  // forgets the options, keeps the connection
    const std::lock_guard lock(mutex_);
    if (idle_.size() < most_idle_handles) {
        idle_.push_back(std::move(handle));
    }
}

}  // namespace tfaas
