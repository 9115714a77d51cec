#include "wire.h"

#include <cmath>
#include <limits>
#include <random>

#include "check.h"
#include "tfaas.pb.h"

namespace {

void protobuf_reads_the_row() {
    const std::vector<std::string> keys{"met", "", "jet_pt", std::string(300, 'k')};
    const std::vector<float> values{1.5F, -0.0F, std::numeric_limits<float>::infinity(), NAN};
    tfaaspb::Row row;
    CHECK(row.ParseFromString(tfaas::internal::encode_row("signal:3", keys, values)));
    CHECK(row.model() == "signal:3");
    CHECK(std::vector<std::string>(row.key().begin(), row.key().end()) == keys);
    CHECK(row.value_size() == 4 && row.value(0) == 1.5F && std::isinf(row.value(2)) && std::isnan(row.value(3)));
}

void protobuf_writes_the_predictions() {
    tfaaspb::Predictions message;
    for (const auto* label : {"signal", "", "background"}) {
        auto& output = *message.add_prediction();
        output.set_label(label);
        output.set_probability(0.25F * static_cast<float>(message.prediction_size()));
    }
    const auto predictions = tfaas::internal::decode_predictions(message.SerializeAsString());
    CHECK(predictions.has_value());
    CHECK((predictions->values == std::vector<float>{0.25F, 0.5F, 0.75F}));
    CHECK((predictions->labels == std::vector<std::string>{"signal", "", "background"}));
    CHECK(predictions->outputs == 3 && predictions->events() == 1);
}

void a_model_without_labels_has_none() {
    tfaaspb::Predictions message;
    message.add_prediction()->set_probability(0);
    const auto predictions = tfaas::internal::decode_predictions(message.SerializeAsString());
    CHECK(predictions && predictions->labels.empty() && predictions->values == std::vector<float>{0});
}

/// Both must agree on whatever the network may do to an answer.
void damaged_bytes_are_read_as_protobuf_reads_them() {
    tfaaspb::Predictions message;
    for (int i = 0; i < 3; ++i) {
        message.add_prediction()->set_label("label");
        message.mutable_prediction(i)->set_probability(1);
    }
    const auto whole = message.SerializeAsString();
    std::mt19937 generator(1);
    for (int trial = 0; trial < 20'000; ++trial) {
        auto bytes = whole.substr(0, generator() % (whole.size() + 1));
        if (!bytes.empty()) {
            bytes[generator() % bytes.size()] = static_cast<char>(generator());
        }
        const auto predictions = tfaas::internal::decode_predictions(bytes);
        tfaaspb::Predictions expected;
        if (predictions && expected.ParseFromString(bytes)) {
            CHECK(predictions->outputs == static_cast<std::size_t>(expected.prediction_size()));
            for (std::size_t i = 0; i < predictions->outputs; ++i) {
                const auto probability = expected.prediction(static_cast<int>(i)).probability();
                CHECK(predictions->values[i] == probability || std::isnan(probability));
            }
        }
    }
    CHECK(!tfaas::internal::decode_predictions("<html>"));
    CHECK(!tfaas::internal::decode_predictions(std::string_view(whole).substr(0, whole.size() - 1)));
}

}  // namespace

int main() {
    protobuf_reads_the_row();
    protobuf_writes_the_predictions();
    a_model_without_labels_has_none();
    damaged_bytes_are_read_as_protobuf_reads_them();
    return failed_checks != 0;
}
