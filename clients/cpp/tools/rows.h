/// Events as lines of text.
#pragma once

#include <cstddef>
#include <istream>
#include <string>
#include <vector>

/// Reads lines with as many numbers each, which blanks or commas separate; empty lines and those with # are skipped.
class RowReader {
public:
    RowReader(std::istream& lines, std::size_t width) : lines_(lines), width_(width) {}

    /// The next events, at most `most`; none at the end or where something is wrong.
    std::vector<float> read(std::size_t most);

    /// What is wrong with the last line, if anything.
    [[nodiscard]] const std::string& wrong() const noexcept { return wrong_; }

private:
    bool append(std::vector<float>& values, const std::string& line);

    std::istream& lines_;
    std::size_t width_;
    std::size_t number_ = 0;
    std::string wrong_;
};
