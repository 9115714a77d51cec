/// Between the arguments of a prediction and the bytes that travel.
#pragma once

#include <string>
#include <vector>

#include "tfaas.pb.h"
#include "tfaas/result.h"
#include "transport.h"

namespace tfaas {

/// Serialises a `tfaaspb::Row`.
Result<std::string> encode_row(
    const std::string& model, const std::vector<std::string>& keys, const std::vector<float>& values);

/// Parses the answer of `url`: predictions, or why there are none.
Result<tfaaspb::Predictions> decode_predictions(const std::string& url, const Answer& answer);

}  // namespace tfaas
