/// A defined answer within the deadline, whatever the server does.

#include <chrono>
#include <thread>

#include "check.h"
#include "little_server.h"
#include "tfaas/client.h"

using namespace std::chrono_literals;
using tfaas::Client;
using tfaas::Options;

namespace {

const std::string prediction = response(200, {"\x0a\x05\x15\x00\x00\x40\x3f", 7}, "application/octet-stream");  // 0.75

Options patience(std::chrono::milliseconds timeout, int retries = 4) {
    Options options;
    options.timeout = timeout;
    options.retries = retries;
    return options;
}

tfaas::Result<tfaas::Predictions> ask(const Client& client) { return client.predict("signal", {}, {1.0F}); }

/// Answers in turn what it is given, the last one ever after.
LittleServer::Answer in_turn(std::vector<std::string> answers) {
    return [answers = std::move(answers), turn = std::make_shared<std::atomic<std::size_t>>(0)](const Received&) {
        return answers[std::min(turn->fetch_add(1), answers.size() - 1)];
    };
}

void busy_servers_and_lost_connections_are_asked_again() {
    const auto half = prediction.substr(0, prediction.size() - 3) + LittleServer::hang_up;
    LittleServer server(in_turn({response(503, ""), response(502, ""), response(504, ""), "", half, prediction}));
    const auto answer = ask(Client(server.url, patience(20s, 6)));
    CHECK(answer && answer.value()(0) == 0.75F);
    CHECK(server.requests >= 6);
}

void what_another_attempt_cannot_mend_is_asked_once() {
    for (const int status : {400, 404, 413, 429, 500}) {
        LittleServer server(in_turn({response(status, R"({"error": "expected\nless"})")}));
        const auto answer = ask(Client(server.url));
        CHECK(answer.error().status == status && answer.error().message == "expected less");
        CHECK(server.requests == 1);
    }
}

void the_number_of_retries_is_kept() {
    LittleServer server(in_turn({response(503, R"({"error": "the queue is full"})")}));
    const auto answer = ask(Client(server.url, patience(20s, 2)));
    CHECK(answer.error().status == 503 && answer.error().message == "the queue is full");
    CHECK(server.requests == 3);
}

void a_retry_after_is_heeded_up_to_the_deadline() {
    LittleServer server(in_turn({response(503, "", "text/plain", "Retry-After: 1\r\n"), prediction}));
    const auto start = std::chrono::steady_clock::now();
    CHECK(ask(Client(server.url, patience(20s, 0))));
    CHECK(std::chrono::steady_clock::now() - start >= 1s);
    LittleServer never(in_turn({response(503, "", "text/plain", "Retry-After: 3600\r\n")}));
    const auto answer = ask(Client(never.url, patience(20s)));
    CHECK(answer.error().status == 503 && holds(answer.error().message, never.url));
    CHECK(never.requests == 1);
}

void garbage_is_an_error_that_names_the_server() {
    for (const auto& body : {std::string("<html>"), std::string(), std::string(100, '\xff')}) {
        LittleServer server(in_turn({response(200, body)}));
        const Client client(server.url, patience(20s));
        CHECK(holds(ask(client).error().message, server.url));
        CHECK(holds(client.model("signal").error().message, "did not answer with a description of signal"));
    }
    LittleServer no_http(in_turn({std::string("SSH-2.0-OpenSSH\r\n") + LittleServer::hang_up}));
    CHECK(holds(ask(Client(no_http.url, patience(20s))).error().message, no_http.url));
}

void a_silent_server_is_given_up_at_the_deadline() {
    std::atomic<bool> ending{false};
    LittleServer server([&](const Received&) {
        while (!ending) {
            std::this_thread::sleep_for(10ms);
        }
        return std::string();
    });
    const auto start = std::chrono::steady_clock::now();
    const auto answer = ask(Client(server.url, patience(300ms)));
    CHECK(answer.error().status == 0 && holds(answer.error().message, "timed out"));
    LittleServer stalling(in_turn({prediction.substr(0, prediction.size() - 3)}));
    CHECK(holds(ask(Client(stalling.url, patience(300ms))).error().message, "timed out"));
    CHECK(std::chrono::steady_clock::now() - start < 30s);
    ending = true;
}

void an_absent_server_is_named() {
    std::string url;
    {
        LittleServer gone(in_turn({prediction}));
        url = gone.url;
    }
    const auto answer = ask(Client(url, patience(20s, 1)));
    CHECK(answer.error().status == 0 && holds(answer.error().message, url));
    CHECK(holds(ask(Client("")).error().message, "no address"));
}

void the_next_address_is_asked_and_kept() {
    LittleServer broken(in_turn({""}));
    LittleServer good(in_turn({prediction}));
    const Client client(broken.url + "/, " + good.url, patience(20s, 0));
    for (int i = 0; i < 5; ++i) {
        CHECK(ask(client));
    }
    CHECK(good.requests == 5 && good.accepted == 1);
    CHECK(broken.requests <= 2);  // libcurl itself asks once more on a connection that was closed
}

void a_silent_address_leaves_time_for_the_next() {
    std::atomic<bool> ending{false};
    LittleServer silent([&](const Received&) {
        while (!ending) {
            std::this_thread::sleep_for(10ms);
        }
        return std::string();
    });
    LittleServer good(in_turn({prediction}));
    CHECK(ask(Client(silent.url + "," + good.url, patience(2s, 0))));
    ending = true;
}

void threads_keep_their_connections() {
    LittleServer server(in_turn({prediction}));
    const Client client(server.url);
    std::vector<std::thread> threads;
    for (int thread = 0; thread < 4; ++thread) {
        threads.emplace_back([&] {
            for (int request = 0; request < 50; ++request) {
                CHECK(ask(client));
            }
        });
    }
    for (auto& thread : threads) {
        thread.join();
    }
    CHECK(server.requests == 200 && server.accepted <= 4);
}

void what_waits_ends_with_the_client() {
    std::atomic<bool> ending{false};
    LittleServer server([&](const Received& request) {
        if (request.path.rfind("/models", 0) == 0) {
            return response(200, R"({"name": "signal", "version": 1, "features": [{"name": "met"}]})");
        }
        while (!ending) {
            std::this_thread::sleep_for(10ms);
        }
        return std::string();
    });
    std::vector<std::future<tfaas::Result<tfaas::Predictions>>> futures;
    {
        Options options = patience(1h);
        options.connections = 2;
        const auto model = Client(server.url, options).model("signal").value();
        for (int i = 0; i < 5; ++i) {
            futures.push_back(model.predictAsync({1.0F}));
        }
    }
    for (auto& future : futures) {
        CHECK(!future.get());
    }
    ending = true;
}

}  // namespace

int main() {
    busy_servers_and_lost_connections_are_asked_again();
    what_another_attempt_cannot_mend_is_asked_once();
    the_number_of_retries_is_kept();
    a_retry_after_is_heeded_up_to_the_deadline();
    garbage_is_an_error_that_names_the_server();
    a_silent_server_is_given_up_at_the_deadline();
    an_absent_server_is_named();
    the_next_address_is_asked_and_kept();
    a_silent_address_leaves_time_for_the_next();
    threads_keep_their_connections();
    what_waits_ends_with_the_client();
    return failed_checks != 0;
}
