// Reductions: sums in float64, the same for any number of threads, and the largest magnitude.
#pragma once

#include <cstdint>

#include "nncore/matrix.hpp"

namespace nncore {

/// The largest |v|; NaN if any v is NaN. So it is finite exactly if all of the array is. Threads share large
/// arrays.
template <class T>
double largest_magnitude(const T* values, std::int64_t count);

/// The sum of (scale v)^2, formed over blocks of 16,384 elements, whose sums are added in order.
template <class T>
double sum_of_squares(const T* values, std::int64_t count, double scale = 1.0);

/// For each column j: sums[j] = the sum of x, or of (x - center[j])^2 if `center` is not null. If g has data:
/// sums[j] = the sum of g, and products[j] = the sum of g (x - center[j]). The blocks of rows in which sums
/// are formed depend only on the number of rows. Matrices must have contiguous rows.
template <class T>
void column_sums(Matrix<const T> x, Matrix<const T> g, const double* center, double* sums,
                 double* products = nullptr);

/// The sum of term(i) for i < count, formed on this thread in the order in which kernels sum along a row: in
/// 16 lanes, which are folded in halves.
template <class Term>
double sum_in_lanes(std::int64_t count, Term term) {
  constexpr int kLanes = 16;
  double lanes[kLanes] = {};
  std::int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes)
    for (int lane = 0; lane < kLanes; ++lane) lanes[lane] += term(i + lane);
  for (int lane = 0; i < count; ++i, ++lane) lanes[lane] += term(i);
  for (int half = kLanes / 2; half > 0; half /= 2)
    for (int lane = 0; lane < half; ++lane) lanes[lane] += lanes[lane + half];
  return lanes[0];
}

/// to[i] = sums[i] rounded to T, or to[i] += that if `accumulate`.
template <class T>
void store_sums(const double* sums, std::int64_t count, T* to, bool accumulate) {
  for (std::int64_t i = 0; i < count; ++i) {
    const T sum = static_cast<T>(sums[i]);
    to[i] = accumulate ? to[i] + sum : sum;
  }
}

}  // namespace nncore
