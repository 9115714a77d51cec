/// Reads JSON: what the server says about its models, and why it refuses a request.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace tfaas::internal {

/// One value; what is asked of it and is not there is null, 0 or empty.
class Json {
public:
    enum class Kind { null, boolean, number, text, list, object };

    /// Nothing where the text is not one JSON value, or nests more than 64 deep.
    static std::optional<Json> parse(std::string_view text);

    [[nodiscard]] Kind kind() const noexcept { return kind_; }
    [[nodiscard]] double number() const noexcept { return number_; }
    [[nodiscard]] const std::string& text() const noexcept { return text_; }
    [[nodiscard]] const std::vector<Json>& items() const noexcept { return items_; }
    const Json& operator[](std::string_view name) const noexcept;

private:
    friend class JsonReader;

    Kind kind_ = Kind::null;
    double number_ = 0;
    std::string text_;
    std::vector<Json> items_;
    std::vector<std::string> names_;  // of the items, where it is an object
};

}  // namespace tfaas::internal
