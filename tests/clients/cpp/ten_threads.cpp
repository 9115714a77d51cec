/// Ten threads ask one bound model and check each of their answers; prints how many were right.
///
/// Arguments: the server, the model, requests of each thread.

#include <tfaas/client.h>

#include <atomic>
#include <iostream>
#include <string>
#include <thread>

#include "sigmoid.h"

int main(int, char** arguments) {
    constexpr int thread_count = 10;
    const int request_count = std::stoi(arguments[3]);
    const auto model = tfaas::Client(arguments[1]).model(arguments[2], {"met", "jet_pt"});
    if (!model) {
        std::cerr << model.error().message << '\n';
        return 1;
    }
    std::atomic<int> right{0};
    std::vector<std::thread> threads;
    for (int thread = 0; thread < thread_count; ++thread) {
        threads.emplace_back([&, thread] {
            for (int request = 0; request < request_count; ++request) {
                const auto event = make_event(thread * request_count + request);
                const auto answer = model.value().predict(as_row(event));
                if (answer && is_close(answer.value()(0), event)) {
                    ++right;
                } else {
                    std::cerr << answer.error().message + "\n";
                }
            }
        });
    }
    for (auto& thread : threads) {
        thread.join();
    }
    std::cout << right << '\n';
    return right == thread_count * request_count ? 0 : 1;
}
