// Shared by tests of numeric functions: instruction sets, random numbers, guarded arrays, tolerances.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "check.hpp"
#include "nncore/runtime.hpp"

namespace numeric {

inline constexpr std::int64_t kSizes[] = {1, 2, 3, 5, 10, 15, 16, 17, 31, 33, 64, 100, 1000};

template <class T>
inline constexpr T kNan = std::numeric_limits<T>::quiet_NaN();
template <class T>
inline constexpr T kInfinity = std::numeric_limits<T>::infinity();
template <class T>
inline constexpr long double kEpsilon = std::numeric_limits<T>::epsilon();

/// Runs body() on every instruction set that this processor has; the last and strongest one stays in use.
template <class Body>
void on_every_set(Body body) {
  const std::vector<std::string> sets = nncore::supported_instruction_sets();
  for (const std::string& set : sets) {
    nncore::use_instruction_set(set);
    const int before = check::failures;
    body();
    if (check::failures > before) std::printf("  on %s\n", set.c_str());
  }
}

/// Checks that body() returns an array of the same bits on every instruction set and for 1, 2 and 3 threads.
template <class Body>
void check_same_bits(Body body) {
  const int threads = nncore::num_threads();
  decltype(body()) expected;
  on_every_set([&] {
    for (int count = 1; count <= 3; ++count) {
      nncore::set_num_threads(count);
      const auto got = body();
      if (expected.empty()) expected = got;
      CHECK(got.size() == expected.size());
      CHECK(std::memcmp(got.data(), expected.data(), got.size() * sizeof(got[0])) == 0);
    }
  });
  nncore::set_num_threads(threads);
}

class Random {
 public:
  explicit Random(unsigned seed) : generator_(seed) {}

  template <class T>
  std::vector<T> uniform(std::int64_t count, double low, double high) {
    std::uniform_real_distribution<double> distribution(low, high);
    std::vector<T> values(static_cast<std::size_t>(count));
    for (T& value : values) value = static_cast<T>(distribution(generator_));
    return values;
  }

 private:
  std::mt19937_64 generator_;
};

/// Random numbers from -1 to 1.
template <class T>
std::vector<T> numbers(std::int64_t count, unsigned seed) {
  return Random(seed).uniform<T>(count, -1, 1);
}

/// An array followed by elements that nobody may write.
template <class T>
class Guarded {
 public:
  explicit Guarded(std::int64_t count, T value = 0)
      : values_(static_cast<std::size_t>(count + kGuards), kGuard), count_(count) {
    for (std::int64_t i = 0; i < count; ++i) (*this)[i] = value;
  }
  explicit Guarded(const std::vector<T>& values) : Guarded(static_cast<std::int64_t>(values.size())) {
    std::copy(values.begin(), values.end(), values_.begin());
  }

  T* data() { return values_.data(); }
  T& operator[](std::int64_t i) { return values_[static_cast<std::size_t>(i)]; }
  std::vector<T> values() const { return {values_.begin(), values_.begin() + count_}; }
  bool intact() const {
    for (std::size_t i = static_cast<std::size_t>(count_); i < values_.size(); ++i)
      if (values_[i] != kGuard) return false;
    return true;
  }

 private:
  static constexpr std::int64_t kGuards = 16;
  static constexpr T kGuard = T(-77.25);
  std::vector<T> values_;
  std::int64_t count_;
};

/// Checks that |got - expected| <= tolerance; a NaN fails.
inline void check_close(long double got, long double expected, long double tolerance,
                        const std::string& what) {
  if (std::fabs(got - expected) <= tolerance || got == expected) return;
  char text[160];
  std::snprintf(text, sizeof text, "%.17Lg, expected %.17Lg, off by %.3Lg, allowed %.3Lg", got, expected,
                std::fabs(got - expected), tolerance);
  check::fail(__FILE__, __LINE__, what + ": " + text);
}

}  // namespace numeric
