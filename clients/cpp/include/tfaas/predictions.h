#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "tfaas/span.h"

namespace tfaas {

/// What a model answers, event by event.
struct Predictions {
    /// events × outputs numbers, those of an event side by side.
    std::vector<float> values;
    /// Numbers an event.
    std::size_t outputs = 0;
    /// A label for each output where one event was asked for and the model has labels, else empty.
    std::vector<std::string> labels;

    [[nodiscard]] std::size_t events() const noexcept { return outputs == 0 ? 0 : values.size() / outputs; }

    /// The outputs of one event.
    Span<float> operator[](std::size_t event) const noexcept { return {values.data() + event * outputs, outputs}; }

    /// One output of one event.
    float operator()(std::size_t event, std::size_t output = 0) const noexcept {
        return values[event * outputs + output];
    }
};

}  // namespace tfaas
