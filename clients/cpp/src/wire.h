/// The messages `Row` and `Predictions` of proto/tfaas.proto, as bytes.
///
/// Written out, so that asking for one event needs no protobuf; the tests compare them with protobuf's own.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "tfaas/predictions.h"
#include "tfaas/span.h"

namespace tfaas::internal {

/// A `tfaaspb.Row`.
std::string encode_row(const std::string& model, const std::vector<std::string>& keys, Span<float> values);

/// Reads `tfaaspb.Predictions`; nothing where the bytes are none.
std::optional<Predictions> decode_predictions(std::string_view bytes);

}  // namespace tfaas::internal
