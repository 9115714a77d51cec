/// What the client does in a second, one figure a run of COUNT requests; benchmarks/clients_cpp.py of the repository puts them side by side.
///
/// Usage: tfaas_benchmark {kept|ahead|each|batches|million} URL MODEL COUNT
/// The authorities that it trusts are those of X509_CERT_DIR, a folder or a file.

#include <curl/curl.h>
#include <tfaas/client.h>
#include <tfaas/rdataframe.h>

#include <cstdlib>
#include <deque>
#include <fstream>
#include <functional>
#include <future>
#include <iostream>
#include <map>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "tfaas.pb.h"

namespace {

using Clock = std::chrono::steady_clock;

constexpr std::size_t width = 27;
constexpr std::size_t batch_events = 10'000;
constexpr std::size_t million = 1'000'000;
constexpr std::size_t requests_ahead = 8;

/// `tfaas::Bulk` of as many numbers as an event has.
template <std::size_t... Position>
tfaas::Bulk<std::decay_t<decltype((Position, float()))>...> bulk_of(std::index_sequence<Position...>);
using Bulk = decltype(bulk_of(std::make_index_sequence<width>()));

struct Arguments {
    std::string url;
    std::string model;
    int count;
};

[[noreturn]] void fail(const std::string& message) {
    std::cerr << "tfaas_benchmark: " << message << '\n';
    std::exit(1);
}

template <typename Value>
Value checked(tfaas::Result<Value> result) {
    if (!result) {
        fail(result.error().message);
    }
    return std::move(result).value();
}

std::vector<float> make_events(std::size_t count) {
    std::mt19937 generator(1);
    std::normal_distribution<float> normal;
    std::vector<float> values(count * width);
    for (auto& value : values) {
        value = normal(generator);
    }
    return values;
}

/// How often `work` is done in a second.
double rate(int count, const std::function<void()>& work) {
    work();
    const auto start = Clock::now();
    for (int i = 0; i < count; ++i) {
        work();
    }
    return count / std::chrono::duration<double>(Clock::now() - start).count();
}

tfaas::Model model_of(
    const Arguments& arguments, const tfaas::Options& options = tfaas::options_from_environment()) {
    return checked(tfaas::Client(arguments.url, options).model(arguments.model));
}

/// One event after the other by one thread.
void kept(const Arguments& arguments) {
    const auto model = model_of(arguments);
    const auto event = make_events(1);
    std::cout << rate(arguments.count, [&] { checked(model.predict(event)); }) << '\n';
}

/// Single events of one thread that does not wait for an answer before it asks for the next ones.
void ahead(const Arguments& arguments) {
    auto options = tfaas::options_from_environment();
    options.connections = requests_ahead;
    const auto model = model_of(arguments, options);
    const auto event = make_events(1);
    std::deque<std::future<tfaas::Result<tfaas::Predictions>>> answers;
    const auto take = [&] {
        checked(answers.front().get());
        answers.pop_front();
    };
    const auto requests = rate(arguments.count, [&] {
        answers.push_back(model.predictAsync(event));
        if (answers.size() == requests_ahead) {
            take();
        }
    });
    while (!answers.empty()) {
        take();
    }
    std::cout << requests << '\n';
}

std::size_t append(char* data, std::size_t size, std::size_t count, void* body) {
    static_cast<std::string*>(body)->append(data, size * count);
    return size * count;
}

tfaaspb::Predictions ask_over_a_connection_of_its_own(const std::string& url, const std::string& body) {
    std::string answer;
    curl_global_init(CURL_GLOBAL_ALL);
    CURL* handle = curl_easy_init();
    curl_slist* headers = curl_slist_append(nullptr, "Content-Type: application/x-protobuf");
    curl_easy_setopt(handle, CURLOPT_URL, url.c_str());
    curl_easy_setopt(handle, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(handle, CURLOPT_POSTFIELDSIZE, static_cast<long>(body.size()));
    curl_easy_setopt(handle, CURLOPT_POSTFIELDS, body.data());
    curl_easy_setopt(handle, CURLOPT_WRITEFUNCTION, append);
    curl_easy_setopt(handle, CURLOPT_WRITEDATA, &answer);
    if (const auto authorities = tfaas::options_from_environment().authorities; !authorities.empty()) {
        curl_easy_setopt(handle, CURLOPT_CAINFO, authorities.c_str());
    }
    const auto outcome = curl_easy_perform(handle);
    curl_slist_free_all(headers);
    curl_easy_cleanup(handle);
    curl_global_cleanup();
    tfaaspb::Predictions predictions;
    if (outcome != CURLE_OK || !predictions.ParseFromString(answer) || predictions.prediction_size() == 0) {
        fail("no predictions from " + url);
    }
    return predictions;
}

/// The same event as `kept`, in the manner of the original client: libcurl is set up, a connection made, and the names
/// sent, for each request.
void each(const Arguments& arguments) {
    tfaaspb::Row row;
    row.set_model(arguments.model);
    const auto event = make_events(1);
    row.mutable_value()->Add(event.begin(), event.end());
    const auto model = model_of(arguments);
    for (const auto& feature : model.features()) {
        row.add_key(feature.name);
    }
    const auto url = arguments.url + "/proto";
    std::cout << rate(arguments.count, [&] { ask_over_a_connection_of_its_own(url, row.SerializeAsString()); }) << '\n';
}

/// Batches one after the other, as events/s.
void batches(const Arguments& arguments) {
    const auto model = model_of(arguments);
    const auto events = make_events(batch_events);
    std::cout << batch_events * rate(arguments.count, [&] { checked(model.predict(events)); }) << '\n';
}

/// Asks for all of an event's values by position.
template <std::size_t... Position>
void add(Bulk& bulk, const float* event, std::index_sequence<Position...>) {
    bulk.add(event[Position]...);
}

/// Megabytes. The figure of getrusage begins with what the process had that started this one.
double most_memory() {
    std::ifstream status("/proc/self/status");
    for (std::string word; status >> word;) {
        if (word == "VmHWM:") {
            double kilobytes = 0;
            status >> kilobytes;
            return kilobytes * 1024 / 1e6;
        }
    }
    fail("the system does not tell how much memory was taken");
}

/// Events/s of a million events that come one by one, and the most memory in MB that the process has taken.
void score_million(const Arguments& arguments) {
    const auto model = model_of(arguments);
    const auto events = make_events(1000);
    const auto start = Clock::now();
    Bulk bulk(model);
    for (std::size_t event = 0; event < million; ++event) {
        add(bulk, events.data() + width * (event % 1000), std::make_index_sequence<width>());
    }
    if (checked(bulk.finish()).events() != million) {
        fail("there is not a score for each event");
    }
    const std::chrono::duration<double> passed = Clock::now() - start;
    std::cout << million / passed.count() << ' ' << most_memory() << '\n';
}

const std::map<std::string, void (*)(const Arguments&)> figures{
    {"kept", kept}, {"ahead", ahead}, {"each", each}, {"batches", batches}, {"million", score_million}};

}  // namespace

int main(int count, char** arguments) {
    const auto figure = count == 5 ? figures.find(arguments[1]) : figures.end();
    if (figure == figures.end()) {
        fail("expected {kept|ahead|each|batches|million} URL MODEL COUNT");
    }
    figure->second({arguments[2], arguments[3], std::stoi(arguments[4])});
}
