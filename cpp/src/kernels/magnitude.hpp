// The largest magnitude in an array, which tells whether all elements are finite and bounds their sum; and
// the sum of squares.
#pragma once

#include "reduce.hpp"
#include "table.hpp"
#include "vec.hpp"

namespace {

/// The largest |v|, compared as integers: without the sign bit, the bits of floating-point numbers are
/// ordered like the numbers, with NaN above infinity. (Floating-point comparison would lose a NaN.)
template <class T>
T largest_magnitude(const T* values, int64_t count) {
  constexpr int lanes = kLanes<T>;
  constexpr Int<T> kMagnitude = static_cast<Int<T>>(~(uint64_t{1} << (8 * sizeof(T) - 1)));
  IntVec<T> largest[4] = {};
  const auto take = [&largest](int v, Vec<T> value) __attribute__((always_inline)) {
    const IntVec<T> magnitude = bit_cast<IntVec<T>>(value) & kMagnitude;
    largest[v] = magnitude > largest[v] ? magnitude : largest[v];
  };
  int64_t i = 0;
  for (; i + 4 * lanes <= count; i += 4 * lanes) {
#pragma GCC unroll 4
    for (int v = 0; v < 4; ++v) take(v, load(values + i + v * lanes));
  }
  for (; i + lanes <= count; i += lanes) take(0, load(values + i));
  if (i < count) take(1, load_first(values + i, static_cast<int>(count - i)));
  const auto larger_of = [](auto a, auto b) __attribute__((always_inline)) { return a > b ? a : b; };
  const IntVec<T> both = larger_of(larger_of(largest[0], largest[1]), larger_of(largest[2], largest[3]));
  return bit_cast<T>(fold<Int<T>, lanes>(both, larger_of));
}

template <class T>
double sum_of_squares(const T* values, int64_t count, double scale) {
  RowSum sum;
  for_each_span<T>(count, [&](auto span) __attribute__((always_inline)) {
    const Vec<T> numbers = span.only(span.load(values), Vec<T>{});
    sum.add_wide(span, [=](int part) __attribute__((always_inline)) {
      const Vec<double> scaled = widen<T>(numbers, part) * scale;
      return scaled * scaled;
    });
  });
  return sum.total();
}

template <class T>
constexpr void add_magnitude_kernels(nncore::kernels::Kernels<T>& k) {
  k.largest_magnitude = largest_magnitude<T>;
  k.sum_of_squares = sum_of_squares<T>;
}

}  // namespace
