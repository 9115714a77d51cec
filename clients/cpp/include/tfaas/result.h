#pragma once

#include <optional>
#include <string>
#include <utility>

namespace tfaas {

/// Why a request has no answer.
struct Error {
    /// One line.
    std::string message;
    /// HTTP status of the answer, 0 when the server gave none.
    long status = 0;
};

/// A value, or the reason why there is none. Nothing in it throws.
template <typename Value>
class [[nodiscard]] Result {
public:
    Result(Value value) : value_(std::move(value)) {}
    Result(Error error) : error_(std::move(error)) {}

    explicit operator bool() const noexcept { return !error_; }

    /// The value; an empty one after a failure.
    [[nodiscard]] const Value& value() const& noexcept { return value_; }
    [[nodiscard]] Value&& value() && noexcept { return std::move(value_); }

    /// The failure; an empty message after a success.
    [[nodiscard]] const Error& error() const noexcept {
        static const Error none;
        return error_ ? *error_ : none;
    }

private:
    Value value_;
    std::optional<Error> error_;
};

}  // namespace tfaas
