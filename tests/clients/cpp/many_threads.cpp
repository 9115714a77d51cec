/// Eight threads share one client and check each of their answers.
///
/// Arguments: the server, a model that answers sigmoid(0.01 met + 0.02 jet_pt[0] - 0.03 jet_pt[1]).

#include <tfaas/client.h>

#include <atomic>
#include <cmath>
#include <iostream>
#include <limits>
#include <thread>
#include <vector>

namespace {

constexpr int thread_count = 8;
constexpr int request_count = 50;
constexpr double tolerance = 1e-6;

bool is_right(const tfaas::Client& client, const std::string& model, int number) {
    const int jets = number % 3;
    std::vector<std::string> keys{"met"};
    std::vector<float> values{static_cast<float>(number)};
    double score = 0.01 * number;
    for (int jet = 0; jet < jets; ++jet) {
        keys.push_back("jet_pt");
        values.push_back(static_cast<float>(20 + number % 7));
        score += (jet == 0 ? 0.02 : -0.03) * values.back();
    }
    if (jets == 0) {
        keys.push_back("jet_pt");
        values.push_back(std::numeric_limits<float>::quiet_NaN());
    }
    const auto predictions = client.predict(model, keys, values);
    if (!predictions || predictions.value().outputs != 2) {
        std::cerr << predictions.error().message + "\n";
        return false;
    }
    return std::abs(predictions.value()(0, 0) - 1 / (1 + std::exp(-score))) < tolerance;
}

}  // namespace

int main(int, char** arguments) {
    const tfaas::Client client(arguments[1]);
    const std::string model = arguments[2];
    std::atomic<int> right{0};
    std::vector<std::thread> threads;
    for (int thread = 0; thread < thread_count; ++thread) {
        threads.emplace_back([&, thread] {
            for (int request = 0; request < request_count; ++request) {
                right += is_right(client, model, thread * request_count + request);
            }
        });
    }
    for (auto& thread : threads) {
        thread.join();
    }
    std::cout << right << '\n';
    return right == thread_count * request_count ? 0 : 1;
}
