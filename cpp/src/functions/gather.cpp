// Gathers rows of a table of any numeric type into contiguous arrays.
#include "nncore/dataset.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>

#include "functions/join.hpp"
#include "nncore/runtime.hpp"

namespace nncore {
namespace {

constexpr std::int64_t kElementsPerThread = 16384;  ///< fewer stay on one thread

/// A boolean, read as a byte: reading a byte other than 0 or 1 as bool is undefined behavior.
struct Boolean {
  std::uint8_t byte;
};

/// IEEE binary16, for which C++20 has no type.
struct Half {
  std::uint16_t bits;
};

float to_float(Half half) {
  const std::uint32_t sign = (half.bits & 0x8000u) << 16;
  const std::uint32_t exponent = half.bits >> 10 & 0x1f;
  const std::uint32_t fraction = half.bits & 0x3ff;
  std::uint32_t magnitude;
  if (exponent == 0)  // zero or subnormal: a multiple of 2^-24
    magnitude = std::bit_cast<std::uint32_t>(static_cast<float>(fraction) * 0x1p-24f);
  else if (exponent == 0x1f)
    magnitude = 0x7f800000 | fraction << 13;
  else
    magnitude = (exponent + 127 - 15) << 23 | fraction << 13;
  return std::bit_cast<float>(sign | magnitude);
}

template <class To, class From>
To convert(From value) {
  if constexpr (std::is_same_v<From, Boolean>) {
    return static_cast<To>(value.byte != 0);
  } else if constexpr (std::is_same_v<From, Half>) {
    return convert<To>(to_float(value));
  } else if constexpr (std::is_floating_point_v<From> && std::is_integral_v<To>) {
    const bool fits = value >= From{-0x1p63} && value < From{0x1p63};
    return fits ? static_cast<To>(value) : std::numeric_limits<To>::min();
  } else {
    return static_cast<To>(value);
  }
}

/// Entries [first, last) of a selection: the source's rows `rows`, or its rows in order if `rows` is null.
struct Selection {
  const Table& source;
  const std::int64_t* rows;
  std::int64_t first, last;

  const std::byte* row(std::int64_t index) const {
    return static_cast<const std::byte*>(source.data) +
           (rows != nullptr ? rows[index] : index) * source.row_stride;
  }
};

/// Calling memcpy costs more than copying a row of at most this many bytes.
constexpr std::int64_t kShortBytes = 128;

/// Copies a short row in pieces, of which the last may overlap the one before. This takes so few instructions
/// that the processor waits for several rows at once.
void copy_short(const std::byte* from, std::int64_t bytes, std::byte* to) {
  const auto copy = [=](auto piece) {
    constexpr std::int64_t size = piece;
    std::int64_t i = 0;
    for (; i + size < bytes; i += size) std::memcpy(to + i, from + i, size);
    std::memcpy(to + bytes - size, from + bytes - size, size);
  };
  if (bytes >= 16)
    copy(std::integral_constant<std::int64_t, 16>{});
  else if (bytes >= 8)
    copy(std::integral_constant<std::int64_t, 8>{});
  else if (bytes >= 4)
    copy(std::integral_constant<std::int64_t, 4>{});
  else
    std::memcpy(to, from, static_cast<std::size_t>(bytes));
}

/// Rows in arbitrary order are prefetched this many bytes ahead of the copy.
constexpr std::int64_t kPrefetchBytes = 8192;

void prefetch(const std::byte* row, std::int64_t bytes) {
  for (std::int64_t i = 0; i < bytes; i += 64) __builtin_prefetch(row + i);
}

/// Long rows in arbitrary order are read kStreams at a time, as many streams as the hardware prefetcher
/// follows. They are prefetched in two stages, because the L2 cache can wait for more lines at a time than
/// the L1 cache; see "Tuning measurements" in docs/performance.md.
constexpr std::int64_t kLongBytes = 2048;
constexpr int kStreams = 8;
constexpr std::int64_t kPiece = 16;
constexpr std::int64_t kFarAhead = 1024, kNearAhead = 256;

/// Converts the elements of a row, which lie `stride` bytes apart.
template <class From, class Stride, class To>
inline void convert_row(const std::byte* from, std::int64_t count, Stride stride, To* to) {
  for (std::int64_t j = 0; j < count; ++j) {
    From value;
    std::memcpy(&value, from + j * stride, sizeof value);
    to[j] = convert<To>(value);
  }
}

/// The stride of contiguous elements, as a compile-time constant.
template <class From>
constexpr std::integral_constant<std::int64_t, sizeof(From)> kGapless{};

/// Converts kStreams rows of contiguous elements, and prefetches the rows `next` that follow them.
template <class From, class To>
void convert_side_by_side(const std::byte* const (&rows)[kStreams], const std::byte* const (&next)[kStreams],
                          std::int64_t columns, To* out) {
  constexpr auto size = static_cast<std::int64_t>(sizeof(From));
  const auto ahead = [&](int row, std::int64_t offset) {
    const std::int64_t beyond = offset - columns * size;
    return beyond < 0 ? rows[row] + offset : next[row] + beyond;
  };
  for (std::int64_t j = 0; j < columns; j += kPiece) {
    for (int row = 0; row < kStreams; ++row) {
      const std::byte* const from = rows[row] + j * size;
      To* const to = out + row * columns + j;
      for (std::int64_t line = j * size; line < (j + kPiece) * size; line += 64) {
        __builtin_prefetch(ahead(row, line + kFarAhead), 0, 2);
        __builtin_prefetch(ahead(row, line + kNearAhead), 0, 3);
      }
      if (std::is_same_v<From, To> && columns - j >= kPiece)
        std::memcpy(to, from, kPiece * size);
      else
        convert_row<From>(from, std::min(kPiece, columns - j), kGapless<From>, to);
    }
  }
}

/// Converts the rows of a selection into consecutive rows of `out`. The source need not be aligned.
template <class From, class To>
void convert_rows(const Selection& selection, To* out) {
  const Table& source = selection.source;
  const std::int64_t columns = source.columns, stride = source.column_stride;
  const std::int64_t row_bytes = columns * static_cast<std::int64_t>(sizeof(From));
  const bool is_gapless = stride == static_cast<std::int64_t>(sizeof(From));
  const bool is_anywhere = selection.rows != nullptr && is_gapless;
  const std::int64_t ahead = is_anywhere ? kPrefetchBytes / row_bytes : 0;
  std::int64_t i = selection.first;
  if (columns == 1) {  // labels, and targets of one output
    for (; i < selection.last; ++i) convert_row<From>(selection.row(i), 1, stride, out++);
    return;
  }
  for (; is_anywhere && row_bytes >= kLongBytes && i + kStreams <= selection.last; i += kStreams) {
    const std::byte *rows[kStreams], *next[kStreams];
    for (int row = 0; row < kStreams; ++row) {
      rows[row] = selection.row(i + row);
      next[row] = selection.row(std::min(i + row + kStreams, selection.last - 1));
    }
    convert_side_by_side<From>(rows, next, columns, out);
    out += kStreams * columns;
  }
  for (std::int64_t next = i; next < std::min(i + ahead, selection.last); ++next)
    prefetch(selection.row(next), row_bytes);
  for (; i < selection.last; ++i, out += columns) {
    const std::byte* const from = selection.row(i);
    if (ahead > 0 && i + ahead < selection.last) prefetch(selection.row(i + ahead), row_bytes);
    if (!is_gapless)
      convert_row<From>(from, columns, stride, out);
    else if (std::is_same_v<From, To> && row_bytes > kShortBytes)
      std::memcpy(out, from, static_cast<std::size_t>(row_bytes));
    else if (std::is_same_v<From, To>)
      copy_short(from, row_bytes, reinterpret_cast<std::byte*>(out));
    else
      convert_row<From>(from, columns, kGapless<From>, out);
  }
}

template <class To>
using ConvertRows = void (*)(const Selection& selection, To* out);

/// In the order of ScalarType.
template <class To>
constexpr ConvertRows<To> kConvertRows[] = {
    convert_rows<Boolean, To>,       convert_rows<std::int8_t, To>,   convert_rows<std::int16_t, To>,
    convert_rows<std::int32_t, To>,  convert_rows<std::int64_t, To>,  convert_rows<std::uint8_t, To>,
    convert_rows<std::uint16_t, To>, convert_rows<std::uint32_t, To>, convert_rows<std::uint64_t, To>,
    convert_rows<Half, To>,          convert_rows<float, To>,         convert_rows<double, To>,
    convert_rows<long double, To>};
constexpr std::size_t kTypes = static_cast<std::size_t>(ScalarType::long_double) + 1;
static_assert(std::size(kConvertRows<float>) == kTypes);

void check(const Table& source, const std::int64_t* rows, std::int64_t count) {
  if (static_cast<std::size_t>(source.type) >= kTypes)
    throw invalid("the table's type must be a ScalarType; got ", static_cast<int>(source.type));
  if (source.rows < 0) throw invalid("the table's number of rows must be at least 0; got ", source.rows);
  if (source.columns < 0)
    throw invalid("the table's number of columns must be at least 0; got ", source.columns);
  if (count < 0) throw invalid("count must be at least 0; got ", count);
  if (rows == nullptr && count > source.rows)
    throw invalid("count must be at most the table's ", source.rows, " rows; got ", count);
  if (rows == nullptr) return;
  // Branch-free, because a branch per row slows small steps. Negative rows become the largest numbers.
  std::uint64_t largest = 0;
  for (std::int64_t i = 0; i < count; ++i) largest = std::max(largest, static_cast<std::uint64_t>(rows[i]));
  if (count == 0 || largest < static_cast<std::uint64_t>(source.rows)) return;
  for (std::int64_t i = 0; i < count; ++i)
    if (rows[i] < 0 || rows[i] >= source.rows)
      throw invalid("rows[", i, "] must be in [0, ", source.rows, "); got ", rows[i]);
}

}  // namespace

template <class To>
void gather_rows(const Table& source, const std::int64_t* rows, std::int64_t count, To* out) {
  check(source, rows, count);
  if (source.columns == 0) return;
  const FloatingPointMode mode;
  const ConvertRows<To> convert_rows = kConvertRows<To>[static_cast<std::size_t>(source.type)];
  constexpr std::int64_t kQuantum = 4 * kStreams;  // parallel_for may split a grain into quarters
  const std::int64_t grain = (kElementsPerThread / source.columns / kQuantum + 1) * kQuantum;
  parallel_for(count, grain, [&](std::int64_t begin, std::int64_t end, int) {
    convert_rows({source, rows, begin, end}, out + begin * source.columns);
  });
}

template void gather_rows(const Table&, const std::int64_t*, std::int64_t, float*);
template void gather_rows(const Table&, const std::int64_t*, std::int64_t, double*);
template void gather_rows(const Table&, const std::int64_t*, std::int64_t, std::int64_t*);

}  // namespace nncore
