#include "binding.h"

#include "batch.h"
#include "wire.h"

namespace tfaas::internal {
namespace {

constexpr double most_version = 1e9;

std::string escape(const std::string& text) {
    constexpr auto plain = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~";
    constexpr auto digits = "0123456789ABCDEF";
    std::string escaped;
    for (const char letter : text) {
        if (std::string_view(plain).find(letter) != std::string_view::npos) {
            escaped += letter;
        } else {
            const auto byte = static_cast<unsigned char>(letter);
            escaped += {'%', digits[byte >> 4U], digits[byte & 15U]};
        }
    }
    return escaped;
}

/// Where the server describes the version that a reference stands for, `mark` being the place of : or @ in it.
std::string description_path(const std::string& reference, std::size_t mark) {
    const auto name = "/models/" + escape(reference.substr(0, mark));
    if (mark == std::string::npos) {
        return name + "/aliases/latest";
    }
    return name + (reference[mark] == ':' ? "/versions/" : "/aliases/") + escape(reference.substr(mark + 1));
}

Result<Predictions> predict_events(Core& core, const Binding& binding, std::size_t count, Gather gather) {
    if (count == 0) {
        return Predictions{};
    }
    if (count == 1) {
        std::vector<float> rows;
        return predict_row(core, binding.name, {}, gather(0, 1, rows));
    }
    Events events{binding.escaped, count, binding.layout.width(), std::move(gather)};
    return std::make_shared<Batch>(core, std::move(events))->predict();
}

}  // namespace

Result<Binding> bind(Core& core, const std::string& reference, const std::vector<std::string>& branches) {
    const auto mark = reference.find_first_of(":@");
    // Dots would lead to another path.
    if (reference.substr(0, mark).find_first_not_of('.') == std::string::npos || mark + 1 == reference.size()) {
        return Error{"'" + reference + "' names no model: expected name, name:version or name@alias"};
    }
    const auto answer = core.sender.ask({description_path(reference, mark), "", {}});
    if (!answer) {
        return answer.error();
    }
    const auto description = Json::parse(answer.value().body);
    const auto version = description ? (*description)["version"].number() : 0;
    if (!(version >= 1 && version <= most_version)) {
        return Error{"the server did not answer with a description of " + reference, answer.value().status};
    }
    Binding binding;
    binding.name = (*description)["name"].text() + ":" + std::to_string(static_cast<long>(version));
    binding.escaped = escape(binding.name);
    auto layout = Layout::bind(binding.name, *description, branches);
    if (!layout) {
        return layout.error();
    }
    binding.layout = std::move(layout).value();
    return binding;
}

Result<Predictions> predict(Core& core, const Binding& binding, Span<float> values, Order order) {
    const auto& layout = binding.layout;
    const auto count = layout.count(values);
    if (!count) {
        return count.error();
    }
    const bool as_they_are = layout.keeps_order() && (order == Order::row_major || count.value() == 1);
    return predict_events(
        core, binding, count.value(), [&](std::size_t first, std::size_t last, std::vector<float>& rows) {
            if (as_they_are) {
                return Span<float>(values.data() + first * layout.width(), (last - first) * layout.width());
            }
            layout.gather(values, order, first, last, rows);
            return Span<float>(rows);
        });
}

Result<Predictions> predict(Core& core, const Binding& binding, const std::vector<Column>& columns) {
    const auto count = binding.layout.count(columns);
    if (!count) {
        return count.error();
    }
    return predict_events(
        core, binding, count.value(), [&](std::size_t first, std::size_t last, std::vector<float>& rows) {
            binding.layout.gather(columns, first, last, rows);
            return Span<float>(rows);
        });
}

Result<Predictions> predict_row(
    Core& core, const std::string& model, const std::vector<std::string>& keys, Span<float> values) {
    const auto body = encode_row(model, keys, values);
    const auto answer = core.sender.ask({"/proto", "application/x-protobuf", body});
    if (!answer) {
        return answer.error();
    }
    auto predictions = decode_predictions(answer.value().body);
    if (!predictions || predictions->outputs == 0) {
        return Error{answer.value().url + " did not answer with predictions", answer.value().status};
    }
    return std::move(*predictions);
}

}  // namespace tfaas::internal
