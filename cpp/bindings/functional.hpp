// What the functions of nncore.functional share.
#pragma once

#include "arrays.hpp"

namespace nncore::bindings {

/// Estimated operations per element of an activation or a loss; only decides whether the GIL is released.
inline constexpr double kFlopsPerElement = 20.0;

inline double elementwise_flops(const py::array& array) {
  return static_cast<double>(array.size()) * kFlopsPerElement;
}

template <class T>
py::array new_like(const py::array& array) {
  return array.ndim() == 1 ? new_array<T>(array.shape(0)) : new_array<T>(array.shape(0), array.shape(1));
}

inline void check_accumulate(bool accumulate, bool has_out) {
  if (accumulate && !has_out) throw py::value_error("out must be given if accumulate is True; got None");
}

/// The end of the docstrings.
inline constexpr const char* kArrayRules =
    "\n\nAll arrays are float32, or all are float64; nothing is converted or copied. The result is written\n"
    "to out and returned; without out, it is a new C-ordered array.\n\n"
    "Raises TypeError if a dtype does not fit, and ValueError if a shape or layout does not fit, an array\n"
    "has masked entries (numpy.ma), or out is read-only or shares memory with an input.\n"
    "Formulas: docs/math.md.";

}  // namespace nncore::bindings
