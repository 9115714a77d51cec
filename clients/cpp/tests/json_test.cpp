#include "json.h"

#include <random>

#include "check.h"

using tfaas::internal::Json;

namespace {

void reads_every_kind_of_value() {
    const auto json = Json::parse(R"( {"n": null, "t": true, "f": false, "x": -2.5e3, "s": "a\"\\\n", "l": [1, [], {}]} )");
    CHECK(json.has_value());
    CHECK((*json)["n"].kind() == Json::Kind::null);
    CHECK((*json)["t"].number() == 1 && (*json)["f"].number() == 0);
    CHECK((*json)["x"].number() == -2500);
    CHECK((*json)["s"].text() == "a\"\\\n");
    CHECK((*json)["l"].items().size() == 3);
    CHECK((*json)["absent"]["deeper"].text().empty());
}

void reads_escaped_letters_of_every_length() {
    const auto json = Json::parse(R"("\u0041\u00e9\u20ac\ud83d\ude00")");
    CHECK(json && json->text() == "A\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80");
}

void refuses_what_is_not_json() {
    for (const auto* text :
         {"", " ", "{", "[1,", "[1,]", "{\"a\"}", "{\"a\":}", "{1:2}", "\"open", "\"\\x\"", "\"\\u12\"", "\"\\ud83d\"",
          "\"\\ud83dabcdef\"", "nul", "1 2", "1e", "--1", "<html>"}) {
        CHECK(!Json::parse(text));
    }
}

void refuses_what_nests_too_deep() {
    CHECK(Json::parse(std::string(60, '[') + std::string(60, ']')));
    CHECK(!Json::parse(std::string(1'000'000, '[')));
}

/// What the network may do to an answer is refused or read, and touches no memory that isn't the text's.
void damaged_text_does_no_harm() {
    const std::string whole = R"({"name": "m\u00e9\ud83d\ude00", "list": [1.5e3, true, null, {"a": []}], "n": -1})";
    CHECK(Json::parse(whole));
    std::mt19937 generator(1);
    int refused = 0;
    for (int trial = 0; trial < 20'000; ++trial) {
        auto text = whole.substr(0, whole.size() - generator() % 3 * (generator() % whole.size()) / 2);
        text[generator() % text.size()] = static_cast<char>(generator());
        refused += Json::parse(text) ? 0 : 1;
    }
    CHECK(refused > 0);
}

}  // namespace

int main() {
    reads_every_kind_of_value();
    reads_escaped_letters_of_every_length();
    refuses_what_is_not_json();
    refuses_what_nests_too_deep();
    damaged_text_does_no_harm();
    return failed_checks != 0;
}
