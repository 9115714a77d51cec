/// What the model of these tests answers for an event, and events to ask it about.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

constexpr double tolerance = 1e-5;

struct Event {
    float met;
    std::vector<float> jet_pt;
};

/// Events with none to three jets, of which the model sees two.
inline Event make_event(int number) {
    return {
        static_cast<float>(number % 100),
        std::vector<float>(static_cast<std::size_t>(number % 4), static_cast<float>(20 + number % 7))};
}

/// sigmoid(0.01 met + 0.02 jet_pt[0] - 0.03 jet_pt[1])
inline double expected_score(const Event& event) {
    const auto& jets = event.jet_pt;
    const double score = 0.01 * event.met + (jets.empty() ? 0 : 0.02 * jets[0]) - (jets.size() < 2 ? 0 : 0.03 * jets[1]);
    return 1 / (1 + std::exp(-score));
}

/// met, jet_pt[0], jet_pt[1], where NaN stands for a jet that is not there.
inline std::vector<float> as_row(const Event& event) {
    std::vector<float> row(3, std::numeric_limits<float>::quiet_NaN());
    row[0] = event.met;
    std::copy_n(event.jet_pt.begin(), std::min<std::size_t>(2, event.jet_pt.size()), row.begin() + 1);
    return row;
}

inline bool is_close(double score, const Event& event) { return std::abs(score - expected_score(event)) < tolerance; }
