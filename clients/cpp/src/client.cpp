#include "tfaas/client.h"

#include <utility>

#include "binding.h"

namespace tfaas {
namespace {

Error moved_from() { return Error{"the client has been moved from"}; }

}  // namespace

Client::Client(const std::string& urls, const Options& options) : core_(std::make_shared<internal::Core>(urls, options)) {}

Client::~Client() = default;
Client::Client(Client&&) noexcept = default;
Client& Client::operator=(Client&&) noexcept = default;

Result<Model> Client::model(const std::string& reference, const std::vector<std::string>& branches) const {
    return internal::guarded([&]() -> Result<Model> {
        if (!core_) {
            return moved_from();
        }
        auto binding = internal::bind(*core_, reference, branches);
        if (!binding) {
            return binding.error();
        }
        return Model(std::make_shared<const Model::Bound>(core_, std::move(binding).value()));
    });
}

Result<Predictions> Client::predict(
    const std::string& model, const std::vector<std::string>& keys, const std::vector<float>& values) const {
    return internal::guarded([&]() -> Result<Predictions> {
        if (!core_) {
            return moved_from();
        }
        if (!keys.empty() && keys.size() != values.size()) {
            return Error{
                "expected a value for each key, got " + std::to_string(keys.size()) + " keys and " +
                std::to_string(values.size()) + " values"};
        }
        return internal::predict_row(*core_, model, keys, values);
    });
}

}  // namespace tfaas
