#include "json.h"

#include <cstdlib>

namespace tfaas::internal {

/// Reads one text from left to right; each function leaves the position behind what it has read.
class JsonReader {
public:
    explicit JsonReader(std::string_view text) : text_(text) {}

    std::optional<Json> whole() {
        Json json;
        return value(json, 0) && (skip_blanks(), at_end()) ? std::optional(std::move(json)) : std::nullopt;
    }

private:
    static constexpr int deepest = 64;

    [[nodiscard]] bool at_end() const { return position_ == text_.size(); }

    void skip_blanks() {
        while (!at_end() && std::string_view(" \t\r\n").find(text_[position_]) != std::string_view::npos) {
            ++position_;
        }
    }

    bool take(std::string_view expected) {
        if (text_.substr(position_, expected.size()) != expected) {
            return false;
        }
        position_ += expected.size();
        return true;
    }

    bool value(Json& json, int depth) {
        skip_blanks();
        if (at_end() || depth == deepest) {
            return false;
        }
        switch (text_[position_]) {
            case '{':
                json.kind_ = Json::Kind::object;
                return sequence(json, '}', depth);
            case '[':
                json.kind_ = Json::Kind::list;
                return sequence(json, ']', depth);
            case '"':
                json.kind_ = Json::Kind::text;
                return string(json.text_);
            case 'n':
                return take("null");
            case 't':
            case 'f':
                json.kind_ = Json::Kind::boolean;
                json.number_ = text_[position_] == 't' ? 1 : 0;
                return take("true") || take("false");
            default:
                json.kind_ = Json::Kind::number;
                return number(json.number_);
        }
    }

    /// The members of an object or a list, up to the bracket that ends it.
    bool sequence(Json& json, char end, int depth) {
        ++position_;
        skip_blanks();
        if (take({&end, 1})) {
            return true;
        }
        do {
            if (json.kind_ == Json::Kind::object) {
                skip_blanks();
                if (!string(json.names_.emplace_back()) || (skip_blanks(), !take(":"))) {
                    return false;
                }
            }
            if (!value(json.items_.emplace_back(), depth + 1)) {
                return false;
            }
            skip_blanks();
        } while (take(","));
        return take({&end, 1});
    }

    bool number(double& number) {
        const auto end = text_.find_first_not_of("+-.0123456789eE", position_);
        const std::string digits(text_.substr(position_, end - position_));
        char* stop = nullptr;
        number = std::strtod(digits.c_str(), &stop);
        position_ += digits.size();
        return !digits.empty() && *stop == '\0';
    }

    bool string(std::string& text) {
        if (!take("\"")) {
            return false;
        }
        while (!at_end()) {
            const char letter = text_[position_++];
            if (letter == '"') {
                return true;
            }
            if (letter != '\\') {
                text += letter;
            } else if (!escaped(text)) {
                return false;
            }
        }
        return false;
    }

    bool escaped(std::string& text) {
        constexpr std::string_view letters = "\"\\/bfnrt";
        constexpr std::string_view meanings = "\"\\/\b\f\n\r\t";
        if (at_end()) {
            return false;
        }
        const char letter = text_[position_++];
        if (letter == 'u') {
            return code_point(text);
        }
        const auto index = letters.find(letter);
        if (index == std::string_view::npos) {
            return false;
        }
        text += meanings[index];
        return true;
    }

    bool code_point(std::string& text) {
        unsigned long code = 0;
        if (!hexadecimal(code)) {
            return false;
        }
        if (code >= 0xD800 && code < 0xDC00) {  // the first half of a pair
            unsigned long second = 0;
            if (!take("\\u") || !hexadecimal(second) || second < 0xDC00 || second > 0xDFFF) {
                return false;
            }
            code = 0x10000 + ((code - 0xD800) << 10U) + (second - 0xDC00);
        }
        append_utf8(text, code);
        return true;
    }

    bool hexadecimal(unsigned long& code) {
        const std::string digits(text_.substr(position_, 4));
        if (digits.size() < 4 || digits.find_first_not_of("0123456789abcdefABCDEF") != std::string::npos) {
            return false;
        }
        code = std::strtoul(digits.c_str(), nullptr, 16);
        position_ += 4;
        return true;
    }

    static void append_utf8(std::string& text, unsigned long code) {
        const auto rest = [code](unsigned shift) { return static_cast<char>(0x80U | ((code >> shift) & 0x3FU)); };
        if (code < 0x80) {
            text += static_cast<char>(code);
        } else if (code < 0x800) {
            text += {static_cast<char>(0xC0U | (code >> 6U)), rest(0)};
        } else if (code < 0x10000) {
            text += {static_cast<char>(0xE0U | (code >> 12U)), rest(6), rest(0)};
        } else {
            text += {static_cast<char>(0xF0U | (code >> 18U)), rest(12), rest(6), rest(0)};
        }
    }

    std::string_view text_;
    std::size_t position_ = 0;
};

std::optional<Json> Json::parse(std::string_view text) { return JsonReader(text).whole(); }

const Json& Json::operator[](std::string_view name) const noexcept {
    static const Json null;
    for (std::size_t i = 0; i < names_.size(); ++i) {
        if (names_[i] == name) {
            return items_[i];
        }
    }
    return null;
}

}  // namespace tfaas::internal
