/// Asks the model `signal` about one event with a missing transverse energy and two jets.

#include <tfaas/client.h>

#include <iostream>

int main() {
    const tfaas::Client client("http://localhost:8083");
    const auto predictions = client.predict("signal", {"met", "jet_pt", "jet_pt"}, {41.5F, 80.2F, 35.1F});
    if (!predictions) {
        std::cerr << predictions.error().message << '\n';
        return 1;
    }
    for (const float output : predictions.value().values) {
        std::cout << output << '\n';
    }
}
