/// Asks a model about one event and prints its outputs.

#include <chrono>
#include <cmath>
#include <cstdlib>
#include <iomanip>
#include <iostream>
#include <limits>
#include <optional>
#include <sstream>
#include <string>
#include <vector>

#include "tfaas/client.h"

namespace {

constexpr int done = 0;
constexpr int our_fault = 1;
constexpr int mendable = 2;

constexpr auto usage =
    "usage: tfaas-cpp [--url URL] [--timeout SECONDS] [--json] --model MODEL KEY=VALUE ... | VALUE ...\n"
    "\n"
    "Prints a line for each output: its label, or its index where it has none, and its probability.\n"
    "A jagged feature repeats its key for each of its objects; KEY=nan is one without objects.\n"
    "\n"
    "  --url URL          base of the server; default $TFAAS_URL or http://localhost:8083\n"
    "  --model MODEL      name, name:version or name@alias\n"
    "  --timeout SECONDS  default 30\n"
    "  --json             print the probabilities as a JSON array\n"
    "\n"
    "$TFAAS_TOKEN is presented as bearer token, $X509_USER_PROXY as client certificate;\n"
    "$X509_CERT_DIR holds the trusted authorities.\n"
    "Exit codes: 0 done, 1 the server failed, 2 you can mend it.\n";

std::string default_url() {
    const char* url = std::getenv("TFAAS_URL");
    return url == nullptr ? "http://localhost:8083" : url;
}

struct Request {
    std::string url = default_url();
    std::string model;
    std::vector<std::string> keys;
    std::vector<float> values;
    tfaas::Options options = tfaas::options_from_environment();
    bool json = false;
    bool help = false;
};

int fail(const std::string& message, int code) {
    std::cerr << "tfaas-cpp: " + message + "\n";
    return code;
}

template <typename Number>
std::optional<Number> parse(const std::string& text, Number (*convert)(const char*, char**)) {
    char* end = nullptr;
    const auto number = convert(text.c_str(), &end);
    return text.empty() || *end != '\0' ? std::nullopt : std::optional(number);
}

/// Takes the value of an option; returns what is wrong with it, if anything.
std::string take_option(const std::string& name, const std::string& value, Request& request) {
    if (name == "--url") {
        request.url = value;
    } else if (name == "--model") {
        request.model = value;
    } else if (name == "--timeout") {
        const auto seconds = parse(value, std::strtod);
        if (!seconds || !(*seconds > 0) || !(*seconds < 1e6)) {
            return "--timeout expects seconds, got " + value;
        }
        request.options.timeout =
            std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::duration<double>(*seconds));
    } else {
        return "there is no option " + name;
    }
    return {};
}

/// Takes KEY=VALUE or VALUE; returns what is wrong with it, if anything.
std::string take_value(const std::string& argument, Request& request) {
    const auto equals = argument.rfind('=');
    const bool named = equals != std::string::npos;
    const auto value = parse(named ? argument.substr(equals + 1) : argument, std::strtof);
    if (!value) {
        return "expected KEY=VALUE or VALUE with a number, got " + argument;
    }
    if (!request.values.empty() && named == request.keys.empty()) {
        return "either all values are named or none, got " + argument;
    }
    if (named) {
        request.keys.push_back(argument.substr(0, equals));
    }
    request.values.push_back(*value);
    return {};
}

/// Returns what is wrong with the arguments, if anything.
std::string take_arguments(const std::vector<std::string>& arguments, Request& request) {
    for (std::size_t i = 0; i < arguments.size(); ++i) {
        const auto& argument = arguments[i];
        std::string wrong;
        if (argument == "--help" || argument == "-h") {
            request.help = true;
        } else if (argument == "--json") {
            request.json = true;
        } else if (argument.rfind("--", 0) != 0) {
            wrong = take_value(argument, request);
        } else if (const auto equals = argument.find('='); equals != std::string::npos) {
            wrong = take_option(argument.substr(0, equals), argument.substr(equals + 1), request);
        } else if (i + 1 == arguments.size()) {
            wrong = argument + " expects a value";
        } else {
            wrong = take_option(argument, arguments[++i], request);
        }
        if (!wrong.empty()) {
            return wrong;
        }
    }
    return request.help || !request.model.empty() ? std::string() : "--model is missing, see tfaas-cpp --help";
}

std::string as_json(const tfaas::Predictions& predictions) {
    std::ostringstream text;
    text << std::setprecision(std::numeric_limits<float>::max_digits10) << '[';
    for (std::size_t i = 0; i < predictions.outputs; ++i) {
        text << (i ? ", " : "");
        std::isfinite(predictions.values[i]) ? text << predictions.values[i] : text << "null";
    }
    text << "]\n";
    return text.str();
}

std::string as_lines(const tfaas::Predictions& predictions) {
    std::ostringstream text;
    text << std::setprecision(std::numeric_limits<float>::max_digits10);
    for (std::size_t i = 0; i < predictions.outputs; ++i) {
        const bool labelled = i < predictions.labels.size() && !predictions.labels[i].empty();
        text << (labelled ? predictions.labels[i] : std::to_string(i)) << ' ' << predictions.values[i] << '\n';
    }
    return text.str();
}

}  // namespace

int main(int count, char** arguments) {
    Request request;
    if (const auto wrong = take_arguments({arguments + 1, arguments + count}, request); !wrong.empty()) {
        return fail(wrong, mendable);
    }
    if (request.help) {
        std::cout << usage;
        return done;
    }
    const tfaas::Client client(request.url, request.options);
    const auto predictions = client.predict(request.model, request.keys, request.values);
    if (!predictions) {
        const auto& error = predictions.error();
        const bool can_be_mended = error.status == 0 || (error.status >= 300 && error.status < 500);
        return fail(error.message, can_be_mended ? mendable : our_fault);
    }
    std::cout << (request.json ? as_json(predictions.value()) : as_lines(predictions.value())) << std::flush;
    return std::cout ? done : our_fault;
}
