/// Stands in for ROOT's header of this name: as much as the documentation's programs use.
#pragma once

#include <vector>

namespace ROOT {

template <typename Value>
class RVec {
public:
    [[nodiscard]] auto begin() const { return values_.begin(); }
    [[nodiscard]] auto end() const { return values_.end(); }
    [[nodiscard]] const Value* data() const { return values_.data(); }
    [[nodiscard]] std::size_t size() const { return values_.size(); }

private:
    std::vector<Value> values_;
};

}  // namespace ROOT
