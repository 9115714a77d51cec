/// Stands in for ROOT's header of this name: as much as the documentation's programs use, of a tree without events.
#pragma once

#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

namespace ROOT {

inline void EnableImplicitMT(unsigned) {}

using ColumnNames_t = std::vector<std::string>;

class RDataFrame {
public:
    RDataFrame(std::string_view, std::string_view) {}
    explicit RDataFrame(unsigned long long) {}

    /// As ROOT does, this looks for the columns' types at the functor's one call operator.
    template <typename Functor>
    RDataFrame& Define(std::string_view, Functor, const ColumnNames_t&) {
        static_assert(std::is_member_function_pointer_v<decltype(&Functor::operator())>);
        return *this;
    }

    template <typename Functor>
    void Foreach(Functor, const ColumnNames_t&) {
        static_assert(std::is_member_function_pointer_v<decltype(&Functor::operator())>);
    }

    void Snapshot(std::string_view, std::string_view, const ColumnNames_t&) {}
};

}  // namespace ROOT
