// The largest magnitude in an array, which tells whether all of it is finite.
#pragma once

#include <cstdint>
#include <limits>

namespace nncore {

/// The largest |v|; NaN where any v is NaN. Large arrays are shared among threads.
template <class T>
double largest_magnitude(const T* values, std::int64_t count);

/// Added to a finite number of T, what is no larger leaves it finite: a quarter of the last place of the
/// largest number, which rounds away.
template <class T>
constexpr double kHarmlessChange =
    0.125 * std::numeric_limits<T>::epsilon() * static_cast<double>(std::numeric_limits<T>::max());

}  // namespace nncore
