// What functions that work row by row ask of their matrices.
#pragma once

#include <string>

#include "functions/join.hpp"
#include "nncore/matrix.hpp"

namespace nncore {

/// "(3, 4)", of a matrix or a table.
template <class M>
std::string shape_text(const M& m) {
  return join("(", m.rows, ", ", m.columns, ")");
}

/// Rows contiguous, and the shape that `other` has; `argument` and `other_argument` name them in the message.
template <class T, class U>
void check_rows(const char* argument, Matrix<T> m, const char* other_argument, Matrix<U> other) {
  if (m.rows != other.rows || m.columns != other.columns)
    throw invalid(argument, " has shape ", shape_text(m), "; expected ", shape_text(other), ", the shape of ",
                  other_argument);
  if (m.column_stride != 1 && m.columns > 1)
    throw invalid(argument, " has columns ", m.column_stride, " elements apart; expected contiguous rows");
  if (m.data == nullptr && m.rows > 0 && m.columns > 0)
    throw invalid(argument, " is missing; expected a matrix of shape ", shape_text(other));
}

}  // namespace nncore
