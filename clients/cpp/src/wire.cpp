#include "wire.h"

#include <cstdint>
#include <cstring>

// Floats travel as little-endian IEEE 754, which is what every machine of the field has.
static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__ && sizeof(float) == 4);

namespace tfaas::internal {
namespace {

enum WireType : std::uint64_t { varint = 0, fixed64 = 1, bytes_of_length = 2, fixed32 = 5 };

void append_varint(std::string& bytes, std::uint64_t number) {
    while (number >= 0x80) {
        bytes += static_cast<char>(0x80U | (number & 0x7FU));
        number >>= 7U;
    }
    bytes += static_cast<char>(number);
}

void append_field(std::string& bytes, std::uint64_t field, const void* data, std::size_t size) {
    append_varint(bytes, field << 3U | bytes_of_length);
    append_varint(bytes, size);
    bytes.append(static_cast<const char*>(data), size);
}

/// Reads the fields of a message one after the other.
class FieldReader {
public:
    explicit FieldReader(std::string_view bytes) : bytes_(bytes) {}

    /// Reads the next field; false at the end and where there is none.
    bool next() {
        std::uint64_t tag = 0;
        if (bytes_.empty() || !read_varint(tag)) {
            return false;
        }
        field = tag >> 3U;
        type = tag & 7U;
        std::uint64_t size = type == fixed32 ? 4 : 8;
        if (type == varint) {
            return read_varint(size);
        }
        if (type == bytes_of_length && !read_varint(size)) {
            return false;
        }
        broken = type != fixed32 && type != fixed64 && type != bytes_of_length;
        if (broken || size > bytes_.size()) {
            broken = true;
            return false;
        }
        content = bytes_.substr(0, size);
        bytes_.remove_prefix(size);
        return true;
    }

    std::uint64_t field = 0;
    std::uint64_t type = 0;
    std::string_view content;
    bool broken = false;

private:
    bool read_varint(std::uint64_t& number) {
        number = 0;
        for (unsigned shift = 0; shift < 64 && !bytes_.empty(); shift += 7) {
            const auto byte = static_cast<unsigned char>(bytes_.front());
            bytes_.remove_prefix(1);
            number |= static_cast<std::uint64_t>(byte & 0x7FU) << shift;
            if (byte < 0x80) {
                return true;
            }
        }
        broken = true;
        return false;
    }

    std::string_view bytes_;
};

/// Reads a `tfaaspb.Class`.
bool decode_class(std::string_view bytes, std::string& label, float& probability) {
    FieldReader reader(bytes);
    while (reader.next()) {
        if (reader.field == 1 && reader.type == bytes_of_length) {
            label = reader.content;
        } else if (reader.field == 2 && reader.type == fixed32) {
            std::memcpy(&probability, reader.content.data(), sizeof probability);
        }
    }
    return !reader.broken;
}

}  // namespace

std::string encode_row(const std::string& model, const std::vector<std::string>& keys, Span<float> values) {
    std::string bytes;
    bytes.reserve(4 * values.size() + 32 * keys.size() + model.size() + 16);
    for (const auto& key : keys) {
        append_field(bytes, 1, key.data(), key.size());
    }
    append_field(bytes, 2, values.data(), 4 * values.size());
    append_field(bytes, 3, model.data(), model.size());
    return bytes;
}

std::optional<Predictions> decode_predictions(std::string_view bytes) {
    Predictions predictions;
    bool labelled = false;
    FieldReader reader(bytes);
    while (reader.next()) {
        if (reader.field != 1 || reader.type != bytes_of_length) {
            continue;
        }
        float probability = 0;
        if (!decode_class(reader.content, predictions.labels.emplace_back(), probability)) {
            return std::nullopt;
        }
        labelled = labelled || !predictions.labels.back().empty();
        predictions.values.push_back(probability);
    }
    if (reader.broken) {
        return std::nullopt;
    }
    if (!labelled) {
        predictions.labels.clear();
    }
    predictions.outputs = predictions.values.size();
    return predictions;
}

}  // namespace tfaas::internal
