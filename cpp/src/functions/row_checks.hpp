// What functions that work row by row ask of their matrices.
#pragma once

#include <stdexcept>
#include <string>

#include "nncore/matrix.hpp"

namespace nncore {

/// "(3, 4)"
template <class T>
std::string shape_text(Matrix<T> m) {
  return "(" + std::to_string(m.rows) + ", " + std::to_string(m.columns) + ")";
}

/// Rows contiguous, and the shape that `other` has; `argument` and `other_argument` name them in the message.
template <class T, class U>
void check_rows(const char* argument, Matrix<T> m, const char* other_argument, Matrix<U> other) {
  if (m.rows != other.rows || m.columns != other.columns)
    throw std::invalid_argument(std::string(argument) + " has shape " + shape_text(m) + "; expected " +
                                shape_text(other) + ", the shape of " + other_argument);
  if (m.column_stride != 1 && m.columns > 1)
    throw std::invalid_argument(std::string(argument) + " has columns " + std::to_string(m.column_stride) +
                                " elements apart; expected contiguous rows");
  if (m.data == nullptr && m.rows > 0 && m.columns > 0)
    throw std::invalid_argument(std::string(argument) + " is missing; expected a matrix of shape " +
                                shape_text(other));
}

}  // namespace nncore
