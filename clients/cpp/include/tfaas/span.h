#pragma once

#include <cstddef>
#include <initializer_list>
#include <type_traits>
#include <utility>

namespace tfaas {

/// Numbers that somebody else owns, side by side in memory; `std::span` of C++20 for C++17.
template <typename Number>
class Span {
public:
    constexpr Span() noexcept = default;
    constexpr Span(const Number* data, std::size_t size) noexcept : data_(data), size_(size) {}

    /// From whatever has `data()` and `size()`: a vector, an array, an RVec.
    template <
        typename Container,
        typename = std::enable_if_t<
            std::is_convertible_v<decltype(std::declval<const Container&>().data()), const Number*>>>
    constexpr Span(const Container& numbers) noexcept : data_(numbers.data()), size_(numbers.size()) {}

    /// From numbers in braces, which live as long as the call that they are an argument of.
    constexpr Span(std::initializer_list<Number> numbers) noexcept {
        data_ = numbers.begin();
        size_ = numbers.size();
    }

    [[nodiscard]] constexpr const Number* data() const noexcept { return data_; }
    [[nodiscard]] constexpr std::size_t size() const noexcept { return size_; }
    [[nodiscard]] constexpr bool empty() const noexcept { return size_ == 0; }
    [[nodiscard]] constexpr const Number* begin() const noexcept { return data_; }
    [[nodiscard]] constexpr const Number* end() const noexcept { return data_ + size_; }
    constexpr const Number& operator[](std::size_t position) const noexcept { return data_[position]; }

private:
    const Number* data_ = nullptr;
    std::size_t size_ = 0;
};

}  // namespace tfaas
