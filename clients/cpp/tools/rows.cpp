#include "rows.h"

#include <cstdlib>

namespace {

constexpr auto separators = " \t,\r";
constexpr std::size_t most_shown = 80;

}  // namespace

std::vector<float> RowReader::read(std::size_t most) {
    std::vector<float> values;
    std::string line;
    while (values.size() < most * width_ && std::getline(lines_, line)) {
        ++number_;
        const auto start = line.find_first_not_of(separators);
        if (start != std::string::npos && line[start] != '#' && !append(values, line)) {
            return {};
        }
    }
    if (lines_.bad()) {
        wrong_ = "the events can't be read";
        return {};
    }
    return values;
}

bool RowReader::append(std::vector<float>& values, const std::string& line) {
    std::size_t count = 0;
    for (auto start = line.find_first_not_of(separators); start != std::string::npos;) {
        const auto end = line.find_first_of(separators, start);
        const auto text = line.substr(start, end - start);
        char* stop = nullptr;
        values.push_back(std::strtof(text.c_str(), &stop));
        if (stop != text.c_str() + text.size()) {
            wrong_ = "line " + std::to_string(number_) + ": expected numbers, got " + text.substr(0, most_shown);
            return false;
        }
        ++count;
        start = line.find_first_not_of(separators, end);
    }
    if (count != width_) {
        wrong_ = "line " + std::to_string(number_) + ": expected " + std::to_string(width_) + " numbers, got " +
                 std::to_string(count);
    }
    return count == width_;
}
