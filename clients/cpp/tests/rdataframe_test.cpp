/// The functors for RDataFrame, with collections and a data frame of the shape of ROOT's.

#include "tfaas/rdataframe.h"

#include <functional>
#include <map>
#include <stdexcept>
#include <thread>

#include "check.h"
#include "summing_server.h"
#include "tfaas/client.h"

namespace {

/// As `ROOT::RVec`: a vector with an allocator of its own.
template <typename Value>
class RVecLike {
public:
    RVecLike(std::initializer_list<Value> values) : values_(values) {}
    explicit RVecLike(std::size_t size) : values_(size, Value{1}) {}
    [[nodiscard]] auto begin() const { return values_.begin(); }
    [[nodiscard]] auto end() const { return values_.end(); }

private:
    std::vector<Value> values_;
};

using Jets = RVecLike<double>;

struct Event {
    int met;
    Jets jets;
};

/// As RDataFrame looks at what it is given: the types of the columns are those of the one `operator()`.
template <typename Functor, typename Answer, typename... Arguments>
std::function<Answer(Arguments...)> defined(Functor functor, Answer (Functor::*)(Arguments...) const) {
    return functor;
}

std::map<std::string, std::vector<std::vector<float>>> files;

/// As much of `ROOT::RDataFrame` as `write_friend` uses.
class FrameLike {
public:
    explicit FrameLike(unsigned long long events) : events_(events) {}

    template <typename Functor>
    FrameLike& Define(const std::string& column, Functor functor, const std::vector<std::string>& columns) {
        CHECK(columns == std::vector<std::string>{"rdfentry_"});
        column_ = column;
        for (unsigned long long event = 0; event < events_; ++event) {
            using Score = decltype(functor(event));
            if constexpr (std::is_same_v<Score, float>) {
                values_.push_back({functor(event)});
            } else {
                values_.push_back(functor(event));
            }
        }
        return *this;
    }

    void Snapshot(const std::string& tree, const std::string& file, const std::vector<std::string>& columns) {
        CHECK(columns == std::vector<std::string>{column_});
        files[file + ":" + tree] = values_;
    }

private:
    unsigned long long events_;
    std::string column_;
    std::vector<std::vector<float>> values_;
};

struct EventsLike {
    template <typename Functor>
    void Foreach(Functor functor, const std::vector<std::string>& names) {
        CHECK((names == std::vector<std::string>{"met", "jet_pt"}));
        for (int event = 0; event < 1000; ++event) {
            functor(event, Jets(static_cast<std::size_t>(event % 4)));
        }
    }
};

float expected(int event) {
    const float jets[] = {0, 10, 110, 110};
    return static_cast<float>(event) + jets[event % 4];
}

void events_are_scored_in_many_threads(const tfaas::Model& model) {
    using Score = tfaas::Score<int, Jets>;
    const auto score = defined(Score(model), &Score::operator());
    std::vector<std::thread> threads;
    std::atomic<int> right{0};
    for (int slot = 0; slot < 4; ++slot) {
        threads.emplace_back([&, slot] {
            for (int event = slot; event < 200; event += 4) {
                right += score(event, Jets(static_cast<std::size_t>(event % 4))) == expected(event) ? 1 : 0;
            }
        });
    }
    for (auto& thread : threads) {
        thread.join();
    }
    CHECK(right == 200);
}

void zero_objects_and_too_many_are_right(const tfaas::Model& model) {
    const tfaas::Scores<int, Jets> scores(model);
    CHECK((scores(5, {}) == std::vector<float>{5, 10}));
    CHECK((scores(5, {1, 2, 3, 4}) == std::vector<float>{215, 430}));
    CHECK((tfaas::Score<int, Jets>(model, 1)(5, {})) == 10);
}

template <typename Integer>
float as_sent(Integer number, std::uint64_t modulo) {
    std::vector<float> row;
    tfaas::internal::append(row, number, {"event", false, 1, modulo});
    return row.at(0);
}

void event_numbers_are_divided_while_they_have_all_digits() {
    CHECK(as_sent((1ULL << 60U) + 1, 5) == static_cast<float>(((1ULL << 60U) + 1) % 5));
    CHECK(as_sent(~0ULL, 7) == static_cast<float>(~0ULL % 7));
    CHECK(as_sent(static_cast<long long>(1) << 60U, 3) == 1);
    CHECK(as_sent(-4, 3) == -4);
    CHECK(as_sent(16, 0) == 16);
}

template <typename Exception, typename Work>
std::string thrown(Work work) {
    try {
        work();
    } catch (const Exception& exception) {
        return exception.what();
    }
    return "nothing was thrown";
}

void columns_that_do_not_fit_are_refused_at_once(const tfaas::Model& model) {
    const auto refusal = [](auto work) { return thrown<std::invalid_argument>(work); };
    CHECK(holds(refusal([&] { tfaas::Score<int> score(model); }), "1 columns: expected 2 for sum:7"));
    CHECK(holds(refusal([&] { tfaas::Score<int, int> score(model); }), "jet_pt: expected a collection"));
    CHECK(holds(refusal([&] { tfaas::Bulk<Jets, Jets> bulk(model); }), "met: expected a number"));
    CHECK(holds(refusal([&] { tfaas::Score<int> score(tfaas::Model{}); }), "not bound"));
}

void a_failure_ends_the_event_loop(const tfaas::Model& model, const tfaas::Model& lost) {
    const auto failure = [](auto work) { return thrown<std::runtime_error>(work); };
    CHECK(holds(failure([&] { (void)tfaas::Score<int, Jets>(lost)(1, {}); }), "127.0.0.1"));
    CHECK(holds(failure([&] { (void)tfaas::Score<int, Jets>(model, 2)(1, {}); }), "output 2: the model has 2"));
    tfaas::Bulk<int, Jets> bulk(lost, 10);
    for (int event = 0; event < 100; ++event) {
        bulk.add(event, {});
    }
    CHECK(holds(bulk.finish().error().message, "127.0.0.1"));
}

void bulk_scores_keep_the_order(const tfaas::Model& model) {
    for (const std::size_t batch : {1U, 7U, 1000U, 5000U}) {
        tfaas::Bulk<int, Jets> bulk(model, batch);
        for (int round = 0; round < 2; ++round) {
            for (int event = 0; event < 1000; ++event) {
                bulk.add(event, Jets(static_cast<std::size_t>(event % 4)));
            }
            const auto scores = bulk.finish();
            CHECK(scores && scores.value().events() == 1000);
            for (int event = 0; event < 1000; ++event) {
                CHECK(scores.value()(static_cast<std::size_t>(event)) == expected(event));
            }
        }
        CHECK(bulk.finish().value().events() == 0);
    }
}

void a_friend_has_a_score_for_each_event(const tfaas::Model& model) {
    EventsLike events;
    const auto written =
        tfaas::write_friend<FrameLike, int, Jets>(events, model, {"met", "jet_pt"}, "scores", "scores.root");
    CHECK(written && written.value() == 1000);
    const auto& scores = files["scores.root:scores"];
    CHECK(scores.size() == 1000);
    for (int event = 0; event < 1000; ++event) {
        CHECK((scores[static_cast<std::size_t>(event)] == std::vector<float>{expected(event), 2 * expected(event)}));
    }
}

}  // namespace

int main() {
    tfaas::Model lost;
    {
        LittleServer gone(answer_sums);
        tfaas::Options options;
        options.retries = 0;
        lost = tfaas::Client(gone.url, options).model("sum").value();
    }
    LittleServer server(answer_sums);
    const auto model = tfaas::Client(server.url).model("sum").value();
    events_are_scored_in_many_threads(model);
    zero_objects_and_too_many_are_right(model);
    event_numbers_are_divided_while_they_have_all_digits();
    columns_that_do_not_fit_are_refused_at_once(model);
    a_failure_ends_the_event_loop(model, lost);
    bulk_scores_keep_the_order(model);
    a_friend_has_a_score_for_each_event(model);
    return failed_checks != 0;
}
