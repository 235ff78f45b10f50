// Argument checks of functions that work row by row.
#pragma once

#include <string>

#include "functions/join.hpp"
#include "nncore/matrix.hpp"

namespace nncore {

/// The shape of a matrix or a table, as "(3, 4)".
template <class M>
std::string shape_text(const M& m) {
  return join("(", m.rows, ", ", m.columns, ")");
}

/// Throws std::invalid_argument unless `m` has contiguous rows and the shape of `other`. The message calls
/// them `argument` and `other_argument`.
template <class T, class U>
void check_rows(const char* argument, Matrix<T> m, const char* other_argument, Matrix<U> other) {
  if (m.rows != other.rows || m.columns != other.columns)
    throw invalid(argument, " must have shape ", shape_text(other), ", the shape of ", other_argument,
                  "; got ", shape_text(m));
  if (m.column_stride != 1 && m.columns > 1)
    throw invalid(argument, " must have contiguous rows; got columns ", m.column_stride, " elements apart");
  if (m.data == nullptr && m.rows > 0 && m.columns > 0)
    throw invalid(argument, " must be a matrix of shape ", shape_text(other), "; got none");
}

}  // namespace nncore
