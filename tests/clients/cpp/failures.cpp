/// Every failure comes back as a value: prints the status and the message of each.
///
/// Arguments: the server, a URL where nobody listens.

#include <tfaas/client.h>

#include <iostream>
#include <utility>

namespace {

void show(const tfaas::Result<tfaas::Predictions>& result) {
    std::cout << result.error().status << ' ' << result.error().message << ' '
              << result.value().outputs << '\n';
}

}  // namespace

int main(int, char** arguments) {
    tfaas::Client client(arguments[1]);
    show(client.predict("no_such_model", {"met"}, {1}));
    show(client.predict("no_such_model", {"met", "jet_pt"}, {1}));
    show(tfaas::Client(arguments[2]).predict("signal", {}, {1}));
    show(tfaas::Client("no url").predict("signal", {}, {1}));
    const tfaas::Client moved(std::move(client));
    show(client.predict("signal", {}, {1}));  // NOLINT(bugprone-use-after-move): this is what it shows
    show(moved.predict("no_such_model", {}, {1}));
}
