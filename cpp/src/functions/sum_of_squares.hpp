// Sums of squares, the same for any number of threads.
#pragma once

#include <cstdint>

namespace nncore {

/// The sum of (scale v)^2 in float64: over blocks of 16,384 elements, which are added in order.
template <class T>
double sum_of_squares(const T* values, std::int64_t count, double scale = 1.0);

}  // namespace nncore
