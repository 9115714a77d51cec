/// Asks once for each line of standard input, and prints a line for each answer.
///
/// Arguments: the server, a model with three features.

#include <tfaas/client.h>

#include <iostream>
#include <string>

int main(int, char** arguments) {
    tfaas::Options options;
    options.retries = 100;
    options.timeout = std::chrono::minutes(2);
    const auto model = tfaas::Client(arguments[1], options).model(arguments[2]).value();
    for (std::string line; std::getline(std::cin, line);) {
        const auto answer = model.predict({1, 2, 3});
        std::cout << (answer ? "answered" : answer.error().message) << std::endl;
    }
}
