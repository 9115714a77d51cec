/// Asks a model about one event or many and prints its outputs.

#include <chrono>
#include <cmath>
#include <cstdlib>
#include <fstream>
#include <iomanip>
#include <iostream>
#include <limits>
#include <optional>
#include <sstream>
#include <string>
#include <vector>

#include "rows.h"
#include "tfaas/client.h"

namespace {

constexpr int done = 0;
constexpr int our_fault = 1;
constexpr int mendable = 2;

constexpr std::size_t most_rows_in_memory = 100'000;

constexpr auto usage =
    "usage: tfaas-cpp [options] --model MODEL KEY=VALUE ... | VALUE ...\n"
    "       tfaas-cpp [options] --model MODEL --rows FILE [--branches NAME,NAME,...]\n"
    "\n"
    "Prints a line for each output of one event: its label, or its index where it has none, and its probability.\n"
    "A jagged feature repeats its key for each of its objects; KEY=nan is one without objects.\n"
    "Of many events, prints a line for each with all its outputs.\n"
    "\n"
    "  --url URL[,URL]    base of the server, or of several; default $TFAAS_URL or http://localhost:8083\n"
    "  --model MODEL      name, name:version or name@alias\n"
    "  --rows FILE        a line for each event with its values, - for standard input; a jagged feature has as many\n"
    "                     values as the model takes, the places of objects that are not there hold nan\n"
    "  --branches NAMES   what the values of a line are; default the features in the order of the model\n"
    "  --timeout SECONDS  for a request with all its retries, default 30\n"
    "  --retries NUMBER   attempts after the first, default 4\n"
    "  --json             print JSON arrays\n"
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
    std::string rows;
    std::vector<std::string> branches;
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

std::vector<std::string> split(const std::string& names) {
    std::vector<std::string> parts;
    std::istringstream text(names);
    for (std::string name; std::getline(text, name, ',');) {
        parts.push_back(name);
    }
    return parts;
}

/// Takes the value of an option; returns what is wrong with it, if anything.
std::string take_option(const std::string& name, const std::string& value, Request& request) {
    if (name == "--url") {
        request.url = value;
    } else if (name == "--model") {
        request.model = value;
    } else if (name == "--rows") {
        request.rows = value;
    } else if (name == "--branches") {
        request.branches = split(value);
    } else if (name == "--retries") {
        const auto count = parse(value, std::strtod);
        if (!count || !(*count >= 0) || !(*count <= 1000)) {
            return "--retries expects a number, got " + value;
        }
        request.options.retries = static_cast<int>(*count);
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

/// Returns what is wrong with the request as a whole, if anything.
std::string contradiction(const Request& request) {
    if (request.model.empty()) {
        return "--model is missing, see tfaas-cpp --help";
    }
    if (request.rows.empty() && !request.branches.empty()) {
        return "--branches goes with --rows";
    }
    return !request.rows.empty() && !request.values.empty() ? "expected --rows or values, got both" : "";
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
    return request.help ? std::string() : contradiction(request);
}

/// The outputs of an event on a line.
void print_row(std::ostream& text, tfaas::Span<float> outputs, bool json) {
    const char* separator = json ? "[" : "";
    for (const float output : outputs) {
        text << separator;
        !json || std::isfinite(output) ? text << output : text << "null";
        separator = json ? ", " : " ";
    }
    text << (json ? "]\n" : "\n");
}

void print_labelled(std::ostream& text, const tfaas::Predictions& predictions) {
    for (std::size_t i = 0; i < predictions.outputs; ++i) {
        const bool labelled = i < predictions.labels.size() && !predictions.labels[i].empty();
        text << (labelled ? predictions.labels[i] : std::to_string(i)) << ' ' << predictions.values[i] << '\n';
    }
}

int fail(const tfaas::Error& error) {
    const bool can_be_mended = error.status == 0 || (error.status >= 300 && error.status < 500);
    return fail(error.message, can_be_mended ? mendable : our_fault);
}

int predict_one(const tfaas::Client& client, const Request& request) {
    const auto predictions = client.predict(request.model, request.keys, request.values);
    if (!predictions) {
        return fail(predictions.error());
    }
    if (request.json) {
        print_row(std::cout, predictions.value()[0], true);
    } else {
        print_labelled(std::cout, predictions.value());
    }
    return done;
}

int predict_rows(const tfaas::Client& client, const Request& request, std::istream& lines) {
    const auto model = client.model(request.model, request.branches);
    if (!model) {
        return fail(model.error());
    }
    RowReader reader(lines, model.value().width());
    for (;;) {
        const auto values = reader.read(most_rows_in_memory);
        if (values.empty()) {
            return reader.wrong().empty() ? done : fail(reader.wrong(), mendable);
        }
        const auto predictions = model.value().predict(values);
        if (!predictions) {
            return fail(predictions.error());
        }
        for (std::size_t event = 0; event < predictions.value().events(); ++event) {
            print_row(std::cout, predictions.value()[event], request.json);
        }
    }
}

int predict(const tfaas::Client& client, const Request& request) {
    if (request.rows.empty()) {
        return predict_one(client, request);
    }
    if (request.rows == "-") {
        return predict_rows(client, request, std::cin);
    }
    std::ifstream file(request.rows);
    return file ? predict_rows(client, request, file) : fail(request.rows + " can't be read", mendable);
}

}  // namespace

int main(int count, char** arguments) {
    std::ios::sync_with_stdio(false);
    Request request;
    if (const auto wrong = take_arguments({arguments + 1, arguments + count}, request); !wrong.empty()) {
        return fail(wrong, mendable);
    }
    if (request.help) {
        std::cout << usage;
        return done;
    }
    std::cout << std::setprecision(std::numeric_limits<float>::max_digits10);
    const int code = predict(tfaas::Client(request.url, request.options), request);
    return std::cout.flush() ? code : our_fault;
}
