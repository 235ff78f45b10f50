// Tables of user data: any numeric type, any strides. Values are converted while rows are gathered.
#pragma once

#include <cstddef>
#include <cstdint>
#include <type_traits>

namespace nncore {

/// The element types that a Table may have. float16 is IEEE binary16.
enum class ScalarType : std::uint8_t {
  boolean,
  int8,
  int16,
  int32,
  int64,
  uint8,
  uint16,
  uint32,
  uint64,
  float16,
  float32,
  float64,
  long_double
};

constexpr bool is_integer(ScalarType type) { return type >= ScalarType::int8 && type <= ScalarType::uint64; }
constexpr bool is_floating(ScalarType type) { return type >= ScalarType::float16; }

/// A view of a (rows, columns) table of numbers in native byte order. It owns nothing: the data must outlive
/// it. Strides are in bytes and unrestricted; they may be zero, negative or unaligned.
struct Table {
  const void* data = nullptr;
  ScalarType type = ScalarType::float32;
  std::int64_t rows = 0;
  std::int64_t columns = 0;
  std::int64_t row_stride = 0;
  std::int64_t column_stride = 0;

  /// The `count` rows that begin at row `first`.
  Table row_range(std::int64_t first, std::int64_t count) const {
    return {at(first * row_stride), type, count, columns, row_stride, column_stride};
  }
  /// The `count` columns that begin at column `first`.
  Table column_range(std::int64_t first, std::int64_t count) const {
    return {at(first * column_stride), type, rows, count, row_stride, column_stride};
  }

 private:
  const void* at(std::int64_t bytes) const { return static_cast<const std::byte*>(data) + bytes; }
};

/// The ScalarType of a C++ type.
template <class T>
constexpr ScalarType scalar_type() {
  if constexpr (std::is_same_v<T, bool>)
    return ScalarType::boolean;
  else if constexpr (std::is_same_v<T, std::int8_t>)
    return ScalarType::int8;
  else if constexpr (std::is_same_v<T, std::int16_t>)
    return ScalarType::int16;
  else if constexpr (std::is_same_v<T, std::int32_t>)
    return ScalarType::int32;
  else if constexpr (std::is_same_v<T, std::int64_t>)
    return ScalarType::int64;
  else if constexpr (std::is_same_v<T, std::uint8_t>)
    return ScalarType::uint8;
  else if constexpr (std::is_same_v<T, std::uint16_t>)
    return ScalarType::uint16;
  else if constexpr (std::is_same_v<T, std::uint32_t>)
    return ScalarType::uint32;
  else if constexpr (std::is_same_v<T, std::uint64_t>)
    return ScalarType::uint64;
  else if constexpr (std::is_same_v<T, float>)
    return ScalarType::float32;
  else if constexpr (std::is_same_v<T, double>)
    return ScalarType::float64;
  else {
    static_assert(std::is_same_v<T, long double>, "no such scalar type");
    return ScalarType::long_double;
  }
}

/// A contiguous array in row-major (C) order as a table.
template <class T>
constexpr Table table(const T* data, std::int64_t rows, std::int64_t columns) {
  const auto size = static_cast<std::int64_t>(sizeof(T));
  return {data, scalar_type<T>(), rows, columns, columns * size, size};
}

/// Copies rows of a table and converts them: out[i, j] = source[rows[i], j], or source[i, j] if rows is null.
///
/// `To` is float, double or std::int64_t; `out` has room for (count, source.columns) contiguous elements.
/// Integers beyond the precision of `To` round to nearest; booleans become 0 or 1. Conversion to int64
/// truncates fractions, wraps uint64 values from 2^63 on, and maps NaN and floats out of range to the
/// smallest int64. Wrapped and mapped values are negative, so every range check of a label or index rejects
/// them. Throws std::invalid_argument for a row outside the table, before anything is written.
template <class To>
void gather_rows(const Table& source, const std::int64_t* rows, std::int64_t count, To* out);

}  // namespace nncore
