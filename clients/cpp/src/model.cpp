#include "tfaas/model.h"

#include "binding.h"

namespace tfaas {
namespace {

Error unbound() { return Error{"the model is not bound: expected one from Client::model"}; }

}  // namespace

Model::Model(std::shared_ptr<const Bound> bound) noexcept : bound_(std::move(bound)) {}

const std::string& Model::name() const noexcept {
    static const std::string none;
    return bound_ ? bound_->binding->name : none;
}

const std::vector<Feature>& Model::features() const noexcept {
    static const std::vector<Feature> none;
    return bound_ ? bound_->binding->layout.features() : none;
}

std::size_t Model::width() const noexcept { return bound_ ? bound_->binding->layout.width() : 0; }

Result<Predictions> Model::predict(Span<float> values, Order order) const {
    return internal::guarded([&]() -> Result<Predictions> {
        return bound_ ? internal::predict(*bound_->core, *bound_->binding, values, order) : unbound();
    });
}

Result<Predictions> Model::predict(const std::vector<Column>& columns) const {
    return internal::guarded([&]() -> Result<Predictions> {
        return bound_ ? internal::predict(*bound_->core, *bound_->binding, columns) : unbound();
    });
}

std::future<Result<Predictions>> Model::predictAsync(std::vector<float> values, Order order) const {
    const auto promise = std::make_shared<std::promise<Result<Predictions>>>();
    auto future = promise->get_future();
    if (!bound_) {
        promise->set_value(unbound());
        return future;
    }
    // The task must not own the core, or a worker would have to wait for itself: the core outlives its workers.
    const auto task = [promise, order, core = bound_->core.get(), binding = bound_->binding,
                       numbers = std::make_shared<const std::vector<float>>(std::move(values))](bool too_late) {
        promise->set_value(
            too_late ? Error{"the client is gone"}
                     : internal::guarded([&] { return internal::predict(*core, *binding, *numbers, order); }));
    };
    try {
        bound_->core->workers.submit(task);
    } catch (const std::exception& exception) {
        promise->set_value(Error{exception.what()});
    }
    return future;
}

}  // namespace tfaas
