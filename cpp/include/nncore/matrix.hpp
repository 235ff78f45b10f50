// A matrix somebody else owns: the currency of the public C++ API.
#pragma once

#include <cstdint>
#include <type_traits>

namespace nncore {

/// A strided view of a (rows, columns) matrix; nothing is owned or copied. Strides count elements.
/// The functions of this library ask for one unit stride: rows contiguous (column_stride 1) or
/// columns contiguous (row_stride 1), with any leading dimension.
template <class T>
struct Matrix {
  T* data = nullptr;
  std::int64_t rows = 0;
  std::int64_t columns = 0;
  std::int64_t row_stride = 0;
  std::int64_t column_stride = 1;

  constexpr Matrix() = default;

  /// A matrix whose rows lie one after the other without a gap.
  constexpr Matrix(T* data_, std::int64_t rows_, std::int64_t columns_)
      : data(data_), rows(rows_), columns(columns_), row_stride(columns_) {}

  constexpr Matrix(T* data_, std::int64_t rows_, std::int64_t columns_, std::int64_t row_stride_,
                   std::int64_t column_stride_ = 1)
      : data(data_), rows(rows_), columns(columns_), row_stride(row_stride_), column_stride(column_stride_) {}

  /// Matrix<T> is readable wherever Matrix<const T> is asked for.
  constexpr operator Matrix<const T>() const
    requires(!std::is_const_v<T>)
  {
    return {data, rows, columns, row_stride, column_stride};
  }

  constexpr T& operator()(std::int64_t row, std::int64_t column) const {
    return data[row * row_stride + column * column_stride];
  }

  constexpr Matrix transposed() const { return {data, columns, rows, column_stride, row_stride}; }

  /// `count` rows from `first` on.
  constexpr Matrix row_range(std::int64_t first, std::int64_t count) const {
    return {data + first * row_stride, count, columns, row_stride, column_stride};
  }
  /// Columns first .. first + count.
  constexpr Matrix column_range(std::int64_t first, std::int64_t count) const {
    return {data + first * column_stride, rows, count, row_stride, column_stride};
  }
};

}  // namespace nncore
