// What the functions of nncore.functional share.
#pragma once

#include "arrays.hpp"

namespace nncore::bindings {

/// Operations per element of an activation or a loss, roughly: only decides whether the GIL is released.
inline constexpr double kFlopsPerElement = 20.0;

inline double elementwise_flops(const py::array& array) {
  return static_cast<double>(array.size()) * kFlopsPerElement;
}

template <class T>
py::array new_like(const py::array& array) {
  return array.ndim() == 1 ? new_array<T>(array.shape(0)) : new_array<T>(array.shape(0), array.shape(1));
}

inline void check_accumulate(bool accumulate, bool has_out) {
  if (accumulate && !has_out)
    throw py::value_error("out must be an array where accumulate is True; got None");
}

/// The end of their docstrings.
inline constexpr const char* kArrayRules =
    "\n\nfloat32 or float64, all arrays alike; nothing is converted or copied. Without out a C-ordered array "
    "is\n"
    "made; with it, out is filled and returned.\n\n"
    "TypeError: a dtype that differs. ValueError: shapes or layouts that do not fit, masked entries "
    "(numpy.ma),\n"
    "an out that is read-only or shares memory with an input. Formulas: docs/math.md.";

}  // namespace nncore::bindings
