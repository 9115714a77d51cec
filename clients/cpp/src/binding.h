/// A model that is bound, and asking it.
#pragma once

#include <exception>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "core.h"
#include "layout.h"
#include "tfaas/model.h"

namespace tfaas::internal {

struct Binding {
    std::string name;     // name:3
    std::string escaped;  // the same for a URL
    Layout layout;
};

/// Asks the server what `reference` is and expects, and binds the branches to it.
Result<Binding> bind(Core& core, const std::string& reference, const std::vector<std::string>& branches);

Result<Predictions> predict(Core& core, const Binding& binding, Span<float> values, Order order);
Result<Predictions> predict(Core& core, const Binding& binding, const std::vector<Column>& columns);

/// One event by `/proto`, which is quicker than a batch of one.
Result<Predictions> predict_row(
    Core& core, const std::string& model, const std::vector<std::string>& keys, Span<float> values);

/// What `ask` returns; what it throws as an error.
template <typename Ask>
auto guarded(Ask ask) noexcept -> decltype(ask()) {
    try {
        return ask();
    } catch (const std::exception& exception) {
        return Error{exception.what()};
    }
}

}  // namespace tfaas::internal

namespace tfaas {

class Model::Bound {
public:
    Bound(std::shared_ptr<internal::Core> shared, internal::Binding bound)
        : core(std::move(shared)), binding(std::make_shared<const internal::Binding>(std::move(bound))) {}

    const std::shared_ptr<internal::Core> core;
    const std::shared_ptr<const internal::Binding> binding;
};

}  // namespace tfaas
