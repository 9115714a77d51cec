/// A program in the manner of those written for the original client: free functions, endpoint URL, no set-up, and an open
/// namespace std.
///
/// Arguments: the endpoint, a model with the features met and jet_pt.

#include <sstream>
#include <thread>
#include <vector>

#include "tfaas/TFClient.h"

int main(int, char** argv) {
    const char* url = argv[1];
    auto model = argv[2];
    vector<string> attrs{"met", "jet_pt", "jet_pt"};
    vector<float> values{41.5F, 80.2F, 35.1F};

    auto res = predict(url, model, attrs, values);
    for (int i = 0; i < res.prediction_size(); i++) {
        const tfaaspb::Class& p = res.prediction(i);
        cout << p.label() << " " << p.probability() << endl;
    }

    vector<thread> threads;
    for (int i = 0; i < 16; ++i) {
        threads.push_back(thread(&predict, url, model, attrs, values));
    }
    for (auto& thread : threads) {
        thread.join();
    }

    tfaaspb::Row row;
    row.set_model(model);
    for (size_t i = 0; i < attrs.size(); i++) {
        row.add_key(attrs[i]);
        row.add_value(values[i]);
    }
    string input;
    row.SerializeToString(&input);
    cout << tfaasRequest(url, input).prediction_size() << endl;
    cout << predict(url, "no_such_model", attrs, values).prediction_size() << endl;
}
