/// The least that a test needs.
#pragma once

#include <iostream>
#include <string>

inline int failed_checks = 0;

/// Says where and what when `condition` does not hold; `main` returns `failed_checks != 0`.
#define CHECK(condition) check(static_cast<bool>(condition), #condition, __FILE__, __LINE__)

inline void check(bool holds, const char* condition, const char* file, int line) {
    if (!holds) {
        ++failed_checks;
        std::cerr << file << ':' << line << ": expected " << condition << '\n';
    }
}

/// Whether `text` holds `part`; prints the text when it does not.
inline bool holds(const std::string& text, const std::string& part) {
    const bool found = text.find(part) != std::string::npos;
    if (!found) {
        std::cerr << "expected '" << part << "' in '" << text << "'\n";
    }
    return found;
}
