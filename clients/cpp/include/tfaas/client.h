#pragma once

#include <memory>
#include <string>
#include <vector>

#include "tfaas/model.h"
#include "tfaas/options.h"
#include "tfaas/predictions.h"
#include "tfaas/result.h"

namespace tfaas {

namespace internal {
class Core;
}

/// Asks inference servers for predictions, over connections that it keeps open.
///
/// Threads may share one client. Failures are returned, never thrown.
class Client {
public:
    /// `urls` is the base of the server, such as `http://localhost:8083`, or those of several servers of one registry,
    /// separated by commas: the next one is asked where one is lost.
    explicit Client(const std::string& urls, const Options& options = {});
    ~Client();
    Client(Client&&) noexcept;
    Client& operator=(Client&&) noexcept;

    /// Fetches what a model expects and binds the names of branches to it.
    ///
    /// `reference` is `name`, `name:version` or `name@alias`. `branches` are all features of the model in the caller's
    /// order, or empty for the model's; an unknown, missing or repeated one is an error that lists what is expected.
    [[nodiscard]] Result<Model> model(
        const std::string& reference, const std::vector<std::string>& branches = {}) const;

    /// The outputs of a model for one event, without binding it first.
    ///
    /// `values[i]` belongs to the feature `keys[i]`; a jagged feature repeats its key for each of its objects, and is
    /// named once with NaN when it has none. Without keys the values are in the model's order.
    [[nodiscard]] Result<Predictions> predict(
        const std::string& model, const std::vector<std::string>& keys, const std::vector<float>& values) const;

private:
    std::shared_ptr<internal::Core> core_;
};

}  // namespace tfaas
