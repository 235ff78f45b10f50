// A view of a matrix, which most functions of the public C++ API take.
#pragma once

#include <cstdint>
#include <type_traits>

namespace nncore {

/// A strided view of a (rows, columns) matrix. It owns nothing: the data must outlive it. Strides are in
/// elements. The functions of this library need one unit stride: contiguous rows (column_stride 1) or
/// contiguous columns (row_stride 1), with any leading dimension.
template <class T>
struct Matrix {
  T* data = nullptr;
  std::int64_t rows = 0;
  std::int64_t columns = 0;
  std::int64_t row_stride = 0;
  std::int64_t column_stride = 1;

  constexpr Matrix() = default;

  /// A matrix in row-major (C) order without gaps between rows.
  constexpr Matrix(T* data_, std::int64_t rows_, std::int64_t columns_)
      : data(data_), rows(rows_), columns(columns_), row_stride(columns_) {}

  constexpr Matrix(T* data_, std::int64_t rows_, std::int64_t columns_, std::int64_t row_stride_,
                   std::int64_t column_stride_ = 1)
      : data(data_), rows(rows_), columns(columns_), row_stride(row_stride_), column_stride(column_stride_) {}

  /// Converts Matrix<T> to Matrix<const T>.
  constexpr operator Matrix<const T>() const
    requires(!std::is_const_v<T>)
  {
    return {data, rows, columns, row_stride, column_stride};
  }

  constexpr T& operator()(std::int64_t row, std::int64_t column) const {
    return data[row * row_stride + column * column_stride];
  }

  constexpr Matrix transposed() const { return {data, columns, rows, column_stride, row_stride}; }

  /// The `count` rows that begin at row `first`.
  constexpr Matrix row_range(std::int64_t first, std::int64_t count) const {
    return {data + first * row_stride, count, columns, row_stride, column_stride};
  }
  /// The `count` columns that begin at column `first`.
  constexpr Matrix column_range(std::int64_t first, std::int64_t count) const {
    return {data + first * column_stride, rows, count, row_stride, column_stride};
  }
};

}  // namespace nncore
