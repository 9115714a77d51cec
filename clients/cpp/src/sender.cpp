#include "sender.h"

#include <algorithm>
#include <random>
#include <sstream>

#include "json.h"

namespace tfaas::internal {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds first_pause{100};
constexpr milliseconds longest_pause{5000};

std::vector<std::string> split_urls(const std::string& urls) {
    std::vector<std::string> split;
    std::istringstream text(urls);
    for (std::string url; std::getline(text, url, ',');) {
        while (!url.empty() && (url.back() == '/' || url.back() == ' ')) {
            url.pop_back();
        }
        url.erase(0, url.find_first_not_of(' '));
        if (!url.empty()) {
            split.push_back(url);
        }
    }
    return split;
}

bool is_worth_another_attempt(const Attempt& attempt) {
    const auto status = attempt.answer.status;
    return attempt.lost || status == 502 || status == 503 || status == 504;
}

/// Between a half of the pause and all of it, so that clients that failed together don't come back together.
milliseconds shortened(milliseconds pause) {
    thread_local std::minstd_rand generator{std::random_device{}()};
    return std::chrono::duration_cast<milliseconds>(
        pause * std::uniform_real_distribution<double>(0.5, 1.0)(generator));
}

/// What the server says in `{"error": ".."}`, as one line; empty when it says nothing of the kind.
std::string stated_error(const std::string& body) {
    const auto json = Json::parse(body);
    std::string error = json ? (*json)["error"].text() : std::string();
    std::replace_if(error.begin(), error.end(), [](unsigned char letter) { return letter < ' '; }, ' ');
    return error;
}

}  // namespace

Sender::Sender(const std::string& urls, const Options& options)
    : urls_(split_urls(urls)), timeout_(options.timeout), retries_(options.retries), transport_(options) {}

Result<Answer> Sender::send(const Request& request) {
    if (urls_.empty()) {
        return Error{"the client has no address: expected one such as http://localhost:8083"};
    }
    const auto deadline = Clock::now() + timeout_;
    for (int round = 0;; ++round) {
        Attempt attempt;
        std::string url;
        for (std::size_t asked = 0; asked < urls_.size(); ++asked) {
            auto address = preferred_.load();
            url = urls_[address];
            // An address that keeps silent leaves those after it their share of the time.
            const auto left = std::chrono::ceil<milliseconds>(deadline - Clock::now());
            attempt = transport_.send(url, request, left / (urls_.size() - asked));
            if (!is_worth_another_attempt(attempt)) {
                break;
            }
            preferred_.compare_exchange_strong(address, (address + 1) % urls_.size());
        }
        const bool invited = attempt.answer.retry_after.count() > 0;
        if (is_worth_another_attempt(attempt) && (invited || round < retries_) &&
            pause(round, attempt.answer.retry_after, deadline)) {
            continue;
        }
        if (!attempt.failure.empty()) {
            return Error{url + request.path + ": " + attempt.failure};
        }
        attempt.answer.url = url + request.path;
        return std::move(attempt.answer);
    }
}

Result<Answer> Sender::ask(const Request& request) {
    auto answer = send(request);
    if (!answer || answer.value().status == 200) {
        return answer;
    }
    const auto status = answer.value().status;
    const auto message = stated_error(answer.value().body);
    return Error{
        message.empty() ? answer.value().url + " answered with status " + std::to_string(status) : message, status};
}

void Sender::close() {
    transport_.close();
    const std::lock_guard lock(mutex_);
    closed_ = true;
    closing_.notify_all();
}

/// Waits before the next round; false where it would begin too late or not at all.
bool Sender::pause(int round, std::chrono::seconds least, Clock::time_point deadline) {
    const auto growing = std::min(longest_pause, first_pause * (1 << std::min(round, 10)));
    const auto until = Clock::now() + std::max<milliseconds>(least, shortened(growing));
    if (until >= deadline) {
        return false;
    }
    std::unique_lock lock(mutex_);
    return !closing_.wait_until(lock, until, [this] { return closed_; });
}

}  // namespace tfaas::internal
