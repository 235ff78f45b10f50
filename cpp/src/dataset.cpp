#include "nncore/dataset.hpp"

#include <bit>
#include <cstddef>
#include <cstring>

#include "nncore/runtime.hpp"

namespace nncore {
namespace {

/// Elements that are too few to share among threads.
constexpr std::int64_t kGrain = 1 << 15;

/// IEEE binary16, which C++20 has no name for.
struct Half {
  std::uint16_t bits;

  operator float() const {
    const std::uint32_t sign = (bits & 0x8000U) << 16;
    const std::uint32_t exponent = (bits >> 10) & 0x1fU;
    const std::uint32_t mantissa = bits & 0x3ffU;
    if (exponent == 0) {  // zero or subnormal: mantissa * 2^-24, exact
      const float magnitude = static_cast<float>(mantissa) * 0x1p-24F;
      return sign != 0 ? -magnitude : magnitude;
    }
    const std::uint32_t wide = exponent == 0x1f ? 0xffU : exponent + (127 - 15);
    return std::bit_cast<float>(sign | wide << 23 | mantissa << 13);
  }
};

template <class From, class To>
To convert(From value) {
  if constexpr (std::is_same_v<From, Half>)
    return static_cast<To>(static_cast<float>(value));
  else
    return static_cast<To>(value);
}

/// One row: `columns` elements, `stride` bytes apart and anywhere in memory.
template <class From, class To>
void convert_row(const std::byte* from, std::int64_t stride, std::int64_t columns, To* to) {
  if constexpr (std::is_same_v<From, To>) {
    if (stride == static_cast<std::int64_t>(sizeof(From))) {
      std::memcpy(to, from, static_cast<std::size_t>(columns) * sizeof(From));
      return;
    }
  }
  if (stride == static_cast<std::int64_t>(sizeof(From)) &&
      reinterpret_cast<std::uintptr_t>(from) % alignof(From) == 0) {
    const From* values = reinterpret_cast<const From*>(from);
    for (std::int64_t j = 0; j < columns; ++j) to[j] = convert<From, To>(values[j]);
    return;
  }
  for (std::int64_t j = 0; j < columns; ++j) {
    From value;
    std::memcpy(&value, from + j * stride, sizeof value);
    to[j] = convert<From, To>(value);
  }
}

template <class To>
using ConvertRow = void (*)(const std::byte*, std::int64_t, std::int64_t, To*);

/// In the order of ScalarType. A byte of a boolean array is 0 or 1.
template <class To>
constexpr ConvertRow<To> kConvertRow[] = {
    convert_row<std::uint8_t, To>,  convert_row<std::int8_t, To>,   convert_row<std::int16_t, To>,
    convert_row<std::int32_t, To>,  convert_row<std::int64_t, To>,  convert_row<std::uint8_t, To>,
    convert_row<std::uint16_t, To>, convert_row<std::uint32_t, To>, convert_row<std::uint64_t, To>,
    convert_row<Half, To>,          convert_row<float, To>,         convert_row<double, To>,
    convert_row<long double, To>,
};

}  // namespace

template <class To>
void gather_rows(const Table& source, const std::int64_t* rows, std::int64_t count, To* out) {
  if (source.columns == 0) return;
  const auto* data = static_cast<const std::byte*>(source.data);
  const ConvertRow<To> convert_one = kConvertRow<To>[static_cast<std::size_t>(source.type)];
  const std::int64_t grain = source.columns < kGrain ? kGrain / source.columns : 1;
  parallel_for(count, grain, [&](std::int64_t begin, std::int64_t end, int) {
    for (std::int64_t i = begin; i < end; ++i) {
      const std::int64_t row = rows != nullptr ? rows[i] : i;
      convert_one(data + row * source.row_stride, source.column_stride, source.columns,
                  out + i * source.columns);
    }
  });
}

template void gather_rows<float>(const Table&, const std::int64_t*, std::int64_t, float*);
template void gather_rows<double>(const Table&, const std::int64_t*, std::int64_t, double*);
template void gather_rows<std::int64_t>(const Table&, const std::int64_t*, std::int64_t, std::int64_t*);

}  // namespace nncore
