// The parameter store: layout, initial values, copying, and who may use it when.
#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <numeric>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "check.hpp"
#include "child.hpp"
#include "nncore/parameters.hpp"
#include "nncore/random.hpp"
#include "nodes.hpp"

using namespace nncore;

namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

/// weight (3, 4) at 0, bias (3) at 12, weight (2, 3) at 15; state: one vector (3).
std::vector<Segment> layers() {
  return {weight_segment("0.weight", 3, 4), bias_segment("0.bias", 3, constant(0.25)),
          weight_segment("1.weight", 2, 3, {InitializerKind::he_normal})};
}

std::vector<Segment> running_mean() { return {bias_segment("norm.mean", 3, constant(1.0))}; }

Segment changed(void (*change)(Segment&)) {
  Segment segment = weight_segment("w", 3, 4);
  change(segment);
  return segment;
}

template <class T>
void refuses(std::vector<Segment> segments, std::vector<Segment> state, const char* text) {
  CHECK_THROWS(Parameters<T>(segments, state), std::invalid_argument, text);
}

template <class T>
std::vector<T> copy_of(const T* values, std::int64_t count) {
  return {values, values + count};
}

template <class T>
void fill_with(T* values, std::int64_t count, T first) {
  std::iota(values, values + count, first);
}

}  // namespace

TEST(segment_helpers) {
  const Segment weight = weight_segment("w", 3, 4);
  CHECK(weight.name == "w" && weight.shape == std::vector<std::int64_t>({3, 4}) && weight.size() == 12);
  CHECK(!weight.is_vector() && weight.trainable && weight.weight_decay_multiplier == 1.0 &&
        weight.learning_rate_multiplier == 1.0);
  CHECK(weight.initializer.kind == InitializerKind::glorot_uniform);
  const Segment bias = bias_segment("b", 5);
  CHECK(bias.name == "b" && bias.shape == std::vector<std::int64_t>{5} && bias.size() == 5);
  CHECK(bias.is_vector() && bias.trainable && bias.weight_decay_multiplier == 0.0 &&
        bias.initializer.kind == InitializerKind::zeros);
}

TEST(layout_has_no_gaps) {
  Parameters<float> parameters(layers(), running_mean());
  CHECK(parameters.count() == 21 && parameters.state_count() == 3);
  CHECK(parameters.offset(0) == 0 && parameters.offset(1) == 12 && parameters.offset(2) == 15);
  CHECK(parameters.state_offset(0) == 0);
  CHECK(parameters.segments().size() == 3 && parameters.state_segments().size() == 1);
  CHECK(parameters.index_of("0.bias") == 1 && parameters.index_of("1.weight") == 2);
  for (int i = 0; i < 21; ++i) CHECK(parameters.values()[i] == 0.0f && parameters.gradients()[i] == 0.0f);
  for (int i = 0; i < 3; ++i) CHECK(parameters.state()[i] == 0.0f);
}

TEST(no_segments_at_all) {
  Parameters<double> parameters({});
  parameters.initialize(0);
  parameters.copy_from(parameters);
  CHECK(parameters.count() == 0 && parameters.state_count() == 0);
  CHECK_THROWS(parameters.value(0), std::invalid_argument, "[0, 0)");
}

TEST(outputs_of_one_input_lie_together) {
  Parameters<double> parameters(layers());
  fill_with(parameters.values(), parameters.count(), 0.0);
  fill_with(parameters.gradients(), parameters.count(), 100.0);
  const Matrix<double> weight = parameters.value(2), gradient = parameters.gradient(2);
  CHECK(weight.rows == 2 && weight.columns == 3 && weight.row_stride == 1 && weight.column_stride == 2);
  for (int row = 0; row < 2; ++row)
    for (int column = 0; column < 3; ++column) {
      CHECK(weight(row, column) == 15 + 2 * column + row);
      CHECK(gradient(row, column) == 115 + 2 * column + row);
    }
  const Matrix<double> bias = parameters.value(1);
  CHECK(bias.rows == 3 && bias.columns == 1 && bias(2, 0) == 14.0);
  parameters.value(1)(0, 0) = -1.0;
  CHECK(parameters.values()[12] == -1.0);
}

TEST(initial_values_follow_their_formulas) {
  struct Row {
    InitializerKind kind;
    bool uniform;
    double scale;  // the half width or the standard deviation, for in = 30, out = 20
  };
  const Row rows[] = {{InitializerKind::glorot_uniform, true, std::sqrt(6.0 / 50.0)},
                      {InitializerKind::glorot_normal, false, std::sqrt(2.0 / 50.0)},
                      {InitializerKind::he_uniform, true, std::sqrt(6.0 / 30.0)},
                      {InitializerKind::he_normal, false, std::sqrt(2.0 / 30.0)}};
  for (const Row& row : rows) {
    Parameters<double> parameters({bias_segment("b", 7), weight_segment("w", 20, 30, {row.kind})});
    parameters.initialize(99);
    std::vector<double> expected(600);
    const RandomStream stream{99, RandomPurpose::initialise, 1};
    if (row.uniform)
      fill_uniform(stream, -row.scale, row.scale, expected.data(), 600);
    else
      fill_normal(stream, 0.0, row.scale, expected.data(), 600);
    CHECK(copy_of(parameters.values() + 7, 600) == expected);
    CHECK(copy_of(parameters.values(), 7) == std::vector<double>(7, 0.0));
  }
}

TEST(initial_values_depend_on_seed_and_segment_only) {
  const auto two_alike = [] {
    return std::vector<Segment>{weight_segment("a", 3, 4), weight_segment("b", 3, 4)};
  };
  Parameters<float> first(two_alike()), second(two_alike()), other(two_alike());
  fill_with(second.values(), 24, 5.0f);  // earlier values do not matter
  first.initialize(1);
  second.initialize(1);
  other.initialize(2);
  CHECK(copy_of(first.values(), 24) == copy_of(second.values(), 24));
  CHECK(copy_of(first.values(), 24) != copy_of(other.values(), 24));
  CHECK(copy_of(first.values(), 12) != copy_of(first.values() + 12, 12));
}

TEST(state_has_initial_values_and_streams_of_its_own) {
  Parameters<double> parameters({weight_segment("w", 2, 2)},
                                {weight_segment("s", 2, 2), bias_segment("m", 2, constant(3.0))});
  parameters.initialize(1);
  CHECK(copy_of(parameters.values(), 4) != copy_of(parameters.state(), 4));
  CHECK(parameters.state()[0] != 0.0);
  CHECK(parameters.state()[4] == 3.0 && parameters.state()[5] == 3.0);
}

TEST(golden_initial_values) {
  Parameters<float> parameters(layers(), running_mean());
  parameters.initialize(42);
  std::uint64_t hash = 0xcbf29ce484222325;  // FNV-1a
  for (int i = 0; i < 21; ++i)
    hash = (hash ^ std::bit_cast<std::uint32_t>(parameters.values()[i])) * 0x100000001b3;
  CHECK(hash == 0xb25bdc7a51c8984b);
}

TEST(flags_are_set_by_index) {
  Parameters<float> parameters(layers());
  parameters.set_trainable(0, false);
  parameters.set_learning_rate_multiplier(1, 2.5);
  parameters.set_weight_decay_multiplier(2, 0.5);
  CHECK(!parameters.segments()[0].trainable && parameters.segments()[1].trainable);
  CHECK(parameters.segments()[1].learning_rate_multiplier == 2.5);
  CHECK(parameters.segments()[2].weight_decay_multiplier == 0.5);
  CHECK(parameters.segments()[0].weight_decay_multiplier == 1.0);
}

TEST(copy_takes_values_and_state_but_not_gradients) {
  Parameters<float> target(layers(), running_mean()), source(layers(), running_mean());
  source.initialize(7);
  fill_with(source.gradients(), 21, 1.0f);
  target.copy_from(source);
  CHECK(copy_of(target.values(), 21) == copy_of(source.values(), 21));
  CHECK(copy_of(target.state(), 3) == copy_of(source.state(), 3));
  CHECK(copy_of(target.gradients(), 21) == std::vector<float>(21, 0.0f));
  target.copy_from(target);
  CHECK(copy_of(target.values(), 21) == copy_of(source.values(), 21));
}

TEST(soft_update_moves_by_the_fraction) {
  for (const double fraction : {0.0, 0.005, 0.5, 1.0}) {
    Parameters<float> target(layers(), running_mean()), source(layers(), running_mean());
    target.initialize(1);
    source.initialize(2);
    fill_with(source.state(), 3, 10.0f);
    std::vector<float> expected, state;
    const auto part = static_cast<float>(fraction);
    for (int i = 0; i < 21; ++i) {
      const volatile float moved = part * (source.values()[i] - target.values()[i]);  // two roundings
      expected.push_back(target.values()[i] + moved);
    }
    for (int i = 0; i < 3; ++i) {
      const volatile float moved = part * (source.state()[i] - target.state()[i]);
      state.push_back(target.state()[i] + moved);
    }
    target.soft_update(source, fraction);
    CHECK(copy_of(target.values(), 21) == expected);
    CHECK(copy_of(target.state(), 3) == state);
  }
}

TEST(bad_segments) {
  refuses<float>({changed([](Segment& s) { s.name = ""; })}, {}, "name must not be empty");
  refuses<float>({changed([](Segment& s) { s.shape = {0, 4}; })}, {},
                 "segment 'w' must be one to three extents of at least 1; got (0, 4)");
  refuses<float>({changed([](Segment& s) { s.shape = {3, -4}; })}, {}, "extents of at least 1; got (3, -4)");
  refuses<float>({changed([](Segment& s) { s.shape = {}; })}, {}, "one to three extents");
  refuses<float>({changed([](Segment& s) { s.shape = {1, 1, 1, 1}; })}, {}, "one to three extents");
  refuses<float>({changed([](Segment& s) { s.learning_rate_multiplier = kNan; })}, {},
                 "learning_rate_multiplier of segment 'w' must be a finite number; got nan");
  refuses<float>({changed([](Segment& s) { s.initializer = constant(-INFINITY); })}, {},
                 "value must be a finite number");
  refuses<float>({changed([](Segment& s) { s.shape = {std::int64_t{1} << 40, std::int64_t{1} << 40}; })}, {},
                 "memory");
  refuses<double>({weight_segment("a", std::int64_t{1} << 30, std::int64_t{1} << 29),
                   weight_segment("b", std::int64_t{1} << 30, std::int64_t{1} << 30)},
                  {}, "'b'");
  refuses<double>({bias_segment("w", 2), bias_segment("v", 2), bias_segment("w", 3)}, {},
                  "must differ; got 'w' twice");
  refuses<double>({bias_segment("w", 2)}, {bias_segment("w", 2)}, "must differ; got 'w' twice");
  refuses<double>({}, {changed([](Segment& s) { s.shape = {0, 4}; })}, "(0, 4)");
}

TEST(bad_indices_and_names) {
  Parameters<float> parameters(layers());
  for (const int index : {-1, 3}) {
    const std::string text = "segment index must be in [0, 3); got " + std::to_string(index);
    CHECK_THROWS(parameters.value(index), std::invalid_argument, text);
    CHECK_THROWS(parameters.gradient(index), std::invalid_argument, text);
    CHECK_THROWS(parameters.set_trainable(index, false), std::invalid_argument, text);
    CHECK_THROWS(parameters.set_learning_rate_multiplier(index, 1.0), std::invalid_argument, text);
    CHECK_THROWS(parameters.set_weight_decay_multiplier(index, 0.5), std::invalid_argument, text);
  }
  CHECK_THROWS(parameters.index_of("0.wait"), std::invalid_argument, "got '0.wait'");
  CHECK_THROWS(parameters.index_of(""), std::invalid_argument, "must be one of: 0.weight, 0.bias, 1.weight");
  CHECK_THROWS(parameters.set_learning_rate_multiplier(0, kNan), std::invalid_argument,
               "learning_rate_multiplier must be a finite number; got nan");
  CHECK(parameters.segments()[0].learning_rate_multiplier == 1.0);
}

TEST(other_layouts_are_refused) {
  Parameters<float> parameters(layers(), running_mean());
  parameters.initialize(1);
  const auto before = copy_of(parameters.values(), 21);
  auto transposed = layers();
  std::swap(transposed[0].shape[0], transposed[0].shape[1]);
  const Parameters<float> other_shape(transposed, running_mean()), other_state(layers());
  CHECK_THROWS(parameters.copy_from(other_shape), std::invalid_argument,
               "'0.weight' must be (3, 4), the shape of '0.weight'; got (4, 3)");
  CHECK_THROWS(parameters.soft_update(other_shape, 0.5), std::invalid_argument,
               "'0.weight' must be (3, 4), the shape of '0.weight'; got (4, 3)");
  CHECK_THROWS(parameters.copy_from(other_state), std::invalid_argument,
               "number of state segments must be 1; got 0");
  Parameters<float> same(layers(), running_mean());
  for (const double fraction : {-0.1, 1.5, kNan})
    CHECK_THROWS(parameters.soft_update(same, fraction), std::invalid_argument,
                 "fraction must be a number from 0 to 1; got ");
  CHECK(copy_of(parameters.values(), 21) == before);
}

TEST(values_are_known_to_be_finite_when_asked_twice) {
  const auto check = [](auto zero) {
    using T = decltype(zero);
    Parameters<T> parameters(layers());
    parameters.initialize(1);
    CHECK(!parameters.known_finite());
    CHECK(parameters.known_finite() && parameters.known_finite());
    for (const T bad : {std::numeric_limits<T>::infinity(), static_cast<T>(kNan)}) {
      for (std::int64_t i = 0; i < parameters.count(); ++i) {
        parameters.values()[i] = bad;
        for (int ask = 0; ask < 3; ++ask) CHECK(!parameters.known_finite());
        parameters.values()[i] = std::numeric_limits<T>::max();
        CHECK(!parameters.known_finite());
        CHECK(parameters.known_finite());
      }
    }
    CHECK(std::as_const(parameters).value(0)(0, 0) == std::numeric_limits<T>::max());
    CHECK(parameters.known_finite());  // const access changes nothing

    T* const borrowed = parameters.values();
    parameters.begin_borrow();
    parameters.begin_borrow();
    for (int ask = 0; ask < 3; ++ask) CHECK(!parameters.known_finite());
    parameters.end_borrow();
    borrowed[2] = static_cast<T>(kNan);
    for (int ask = 0; ask < 3; ++ask) CHECK(!parameters.known_finite());
    parameters.end_borrow();
    for (int ask = 0; ask < 3; ++ask) CHECK(!parameters.known_finite());

    const auto every_change = {+[](Parameters<T>& store) { store.initialize(1); },
                               +[](Parameters<T>& store) { store.copy_from(Parameters<T>(layers())); },
                               +[](Parameters<T>& store) { store.soft_update(Parameters<T>(layers()), 0.5); },
                               +[](Parameters<T>& store) { store.value(0); }};
    for (const auto change : every_change) {
      parameters.initialize(1);
      parameters.known_finite();
      CHECK(parameters.known_finite());
      change(parameters);
      CHECK(!parameters.known_finite());
      CHECK(parameters.known_finite());
    }
  };
  check(0.0F);
  check(0.0);
}

TEST(many_read_or_one_writes) {
  Usage usage;
  usage.begin_read();
  usage.begin_read();
  CHECK_THROWS(usage.begin_write(), std::runtime_error, "using the model");
  usage.end_read();
  CHECK_THROWS(usage.begin_write(), std::runtime_error, "using the model");
  usage.end_read();
  usage.begin_write();
  CHECK_THROWS(usage.begin_write(), std::runtime_error, "being trained");
  CHECK_THROWS(usage.begin_read(), std::runtime_error, "being trained");
  usage.end_write();
  usage.begin_read();
  usage.end_read();
  usage.begin_write();
  usage.end_write();
}

#if defined(__linux__) && \
    !defined(__SANITIZE_THREAD__)  // which mistakes the threads of a child for those of its parent
TEST(readers_in_a_parent_do_not_bar_its_child) {
  Usage usage;
  usage.begin_read();
  const auto use_it = [&usage] {
    usage.begin_read();
    bool is_barred = false;
    try {
      usage.begin_write();
    } catch (const std::runtime_error&) {
      is_barred = true;
    }
    usage.end_read();
    usage.begin_write();
    usage.end_write();
    return is_barred;
  };
  CHECK(status_in_child([&] { return use_it() && status_in_child(use_it) == 0; }) == 0);
  usage.end_read();
  usage.begin_write();
  const auto says_so = [&usage] {
    try {
      usage.begin_read();
    } catch (const std::runtime_error& error) {
      return std::string(error.what()).find("when this process was forked") != std::string::npos;
    }
    return false;
  };
  CHECK(status_in_child(says_so) == 0);
  usage.end_write();
  CHECK(use_it());
}
#endif

TEST(usage_excludes_writers_from_threads) {
  Usage usage;
  std::int64_t value = 0, writes = 0;  // not atomic: only exclusion keeps them right
  std::vector<std::thread> threads;
  std::vector<std::int64_t> written(4);
  for (std::size_t t = 0; t < written.size(); ++t)
    threads.emplace_back([&, t] {
      for (int round = 0; round < 20000; ++round) {
        try {
          usage.begin_write();
        } catch (const std::runtime_error&) {
          continue;
        }
        value = value + 1;
        ++written[t];
        usage.end_write();
      }
    });
  for (std::thread& thread : threads) thread.join();
  for (const std::int64_t n : written) writes += n;
  CHECK(value == writes && writes > 0);
}
