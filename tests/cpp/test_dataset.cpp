// gather_rows, compared with plain loops: every type, strides of all kinds, row selections, rejected
// arguments.
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <stdexcept>
#include <vector>

#include "check.hpp"
#include "nncore/dataset.hpp"
#include "nncore/runtime.hpp"

using namespace nncore;

namespace {

constexpr std::int64_t kLeast = std::numeric_limits<std::int64_t>::min();

template <class To>
std::vector<To> gather(const Table& source, const std::vector<std::int64_t>& rows) {
  const auto count = static_cast<std::int64_t>(rows.size());
  std::vector<To> out(static_cast<std::size_t>(count * source.columns) + 1, To{77});
  gather_rows(source, rows.data(), count, out.data());
  CHECK(out.back() == To{77});
  out.pop_back();
  return out;
}

template <class To>
std::vector<To> gather_all(const Table& source) {
  std::vector<To> out(static_cast<std::size_t>(source.rows * source.columns));
  gather_rows(source, nullptr, source.rows, out.data());
  return out;
}

/// One column of the given numbers, converted.
template <class To, class From>
std::vector<To> converted(const std::vector<From>& values) {
  return gather_all<To>(table(values.data(), static_cast<std::int64_t>(values.size()), 1));
}

template <class To>
std::vector<To> converted_halves(const std::vector<std::uint16_t>& bits) {
  return gather_all<To>({bits.data(), ScalarType::float16, static_cast<std::int64_t>(bits.size()), 1, 2, 2});
}

template <class To>
bool same_bits(const std::vector<To>& a, const std::vector<To>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(To)) == 0;
}

/// The number at (i, j) of the test tables: in the range of every type, and different from its neighbors.
std::int64_t entry(std::int64_t i, std::int64_t j) { return (i * 31 + j * 7) % 101; }

/// Gathers several selections of rows from a 9 x 12 table with these byte strides, placed in a block of bytes
/// `shift` bytes off alignment. Returns whether they are what a plain loop reads.
template <class From, class To>
bool gathers(std::int64_t row_stride, std::int64_t column_stride, std::int64_t shift) {
  constexpr std::int64_t kRows = 9, kColumns = 12;
  std::vector<std::byte> block(1 << 14);
  std::byte* origin = block.data() + block.size() / 2 + shift;
  for (std::int64_t i = 0; i < kRows; ++i)
    for (std::int64_t j = 0; j < kColumns; ++j) {
      const auto value = static_cast<From>(entry(i, j));
      std::memcpy(origin + i * row_stride + j * column_stride, &value, sizeof value);
    }
  const Table source{origin, scalar_type<From>(), kRows, kColumns, row_stride, column_stride};
  const std::vector<std::vector<std::int64_t>> selections = {
      {}, {4}, {0, 1, 2, 3, 4, 5, 6, 7, 8}, {8, 6, 4, 2, 0, 1, 3, 5, 7}, {3, 3, 0, 8, 8, 8}};
  for (const auto& rows : selections) {
    std::vector<To> expected;
    for (const std::int64_t i : rows)
      for (std::int64_t j = 0; j < kColumns; ++j)
        expected.push_back(static_cast<To>(static_cast<From>(entry(i, j))));
    if (gather<To>(source, rows) != expected) return false;
    if (rows.size() == kRows && rows[1] == 1 && gather_all<To>(source) != expected) return false;
  }
  return true;
}

template <class From, class To>
void check_strides() {
  constexpr auto size = static_cast<std::int64_t>(sizeof(From));
  const std::int64_t strides[][2] = {{12 * size, size},             // contiguous
                                     {20 * size, size},             // a leading dimension
                                     {size, 9 * size},              // column-major
                                     {12 * size, -size},            // columns backwards
                                     {-12 * size, size},            // rows backwards
                                     {-30 * size, -2 * size},       // both, with gaps
                                     {12 * size + 1, size},         // rows at odd addresses
                                     {14 * (size + 3), size + 3}};  // a field of packed records
  for (const auto& [row_stride, column_stride] : strides)
    for (const std::int64_t shift : {0, 1}) CHECK((gathers<From, To>(row_stride, column_stride, shift)));
}

template <class From>
void check_type() {
  check_strides<From, float>();
  check_strides<From, double>();
  check_strides<From, std::int64_t>();
}

/// The value of a half-precision number, from its definition.
double half_value(std::uint16_t bits) {
  const double sign = bits >> 15 != 0 ? -1.0 : 1.0;
  const int exponent = bits >> 10 & 31, fraction = bits & 1023;
  if (exponent == 31) return fraction != 0 ? std::nan("") : sign * std::numeric_limits<double>::infinity();
  if (exponent == 0) return sign * std::ldexp(fraction, -24);
  return sign * std::ldexp(1024 + fraction, exponent - 25);
}

}  // namespace

TEST(signed_integers) {
  check_type<std::int8_t>();
  check_type<std::int16_t>();
  check_type<std::int32_t>();
  check_type<std::int64_t>();
}

TEST(unsigned_integers) {
  check_type<std::uint8_t>();
  check_type<std::uint16_t>();
  check_type<std::uint32_t>();
  check_type<std::uint64_t>();
}

TEST(floating_point) {
  check_type<float>();
  check_type<double>();
  check_type<long double>();
}

TEST(booleans) {
  check_type<bool>();
  const std::vector<std::uint8_t> bytes = {0, 1, 2, 255};  // 2 and 255 are not valid in a bool
  const Table source{bytes.data(), ScalarType::boolean, 4, 1, 1, 1};
  CHECK((gather_all<float>(source) == std::vector<float>{0, 1, 1, 1}));
  CHECK((gather_all<double>(source) == std::vector<double>{0, 1, 1, 1}));
  CHECK((gather_all<std::int64_t>(source) == std::vector<std::int64_t>{0, 1, 1, 1}));
}

TEST(every_half) {
  std::vector<std::uint16_t> bits(65536);
  for (std::size_t i = 0; i < bits.size(); ++i) bits[i] = static_cast<std::uint16_t>(i);
  const auto floats = converted_halves<float>(bits);
  const auto doubles = converted_halves<double>(bits);
  int wrong = 0;
  for (std::size_t i = 0; i < bits.size(); ++i) {
    const double expected = half_value(bits[i]);
    if (std::isnan(expected)) {
      wrong += !std::isnan(floats[i]) || !std::isnan(doubles[i]);
    } else {
      const auto wanted = std::bit_cast<std::uint64_t>(expected);
      wrong += std::bit_cast<std::uint64_t>(doubles[i]) != wanted;
      wrong += std::bit_cast<std::uint64_t>(static_cast<double>(floats[i])) != wanted;
    }
  }
  CHECK(wrong == 0);
}

TEST(halves_in_any_layout) {
  const std::vector<std::uint16_t> bits = {0x3c00, 0x4000, 0x4200, 0x4400, 0x4500, 0x4600};  // 1 .. 6
  const auto* end = reinterpret_cast<const std::byte*>(bits.data() + 5);
  const Table backwards{end, ScalarType::float16, 2, 3, -6, -2};
  CHECK((gather_all<float>(backwards) == std::vector<float>{6, 5, 4, 3, 2, 1}));
  CHECK((gather<std::int64_t>(backwards, {1, 1}) == std::vector<std::int64_t>{3, 2, 1, 3, 2, 1}));
}

TEST(the_same_type_keeps_its_bits) {
  const auto quiet = std::bit_cast<float>(0x7fc12345u);
  const std::vector<float> floats = {quiet, -0.0f, std::numeric_limits<float>::denorm_min(), INFINITY};
  CHECK(same_bits(converted<float>(floats), floats));
  const std::vector<std::int64_t> integers = {kLeast, -1, 0, std::numeric_limits<std::int64_t>::max()};
  CHECK(converted<std::int64_t>(integers) == integers);
}

TEST(numbers_round_to_nearest_even) {
  const std::int64_t two24 = 1 << 24, two53 = std::int64_t{1} << 53;
  CHECK((converted<float>(std::vector<std::int64_t>{two24 + 1, two24 + 3, -two24 - 1}) ==
         std::vector<float>{0x1p24f, 0x1p24f + 4, -0x1p24f}));
  CHECK((converted<double>(std::vector<std::int64_t>{two53 + 1, two53 + 3}) ==
         std::vector<double>{0x1p53, 0x1p53 + 4}));
  CHECK((converted<float>(std::vector<std::uint64_t>{~0ull, (1ull << 63) + (1ull << 39) + 1}) ==
         std::vector<float>{0x1p64f, 0x1p63f + 0x1p40f}));
  CHECK((converted<double>(std::vector<std::uint64_t>{~0ull, 1ull << 63}) ==
         std::vector<double>{0x1p64, 0x1p63}));
  CHECK((converted<float>(std::vector<double>{1.0 + 0x1p-24, 1.0 + 0x3p-24, 0x1p-149, 1e300}) ==
         std::vector<float>{1.0f, 1.0f + 0x1p-22f, 0x1p-149f, INFINITY}));
  CHECK((converted<double>(std::vector<long double>{1.0L / 3.0L, -0x1p-1074L}) ==
         std::vector<double>{1.0 / 3.0, -0x1p-1074}));
}

TEST(what_no_int64_can_hold_becomes_negative) {
  const double nan = std::nan("");
  const std::vector<double> doubles = {2.9, -2.9, -0x1p63, 0x1p63, -0x1.8p63, 1e300, INFINITY, nan};
  const std::vector<std::int64_t> expected = {2, -2, kLeast, kLeast, kLeast, kLeast, kLeast, kLeast};
  CHECK(converted<std::int64_t>(doubles) == expected);
  CHECK(converted<std::int64_t>(std::vector<float>(doubles.begin(), doubles.end())) == expected);
  CHECK(converted<std::int64_t>(std::vector<long double>(doubles.begin(), doubles.end())) == expected);
  CHECK((converted_halves<std::int64_t>({0x7c00, 0xfc00, 0x7e00, 0x7bff}) ==
         std::vector<std::int64_t>{kLeast, kLeast, kLeast, 65504}));
  CHECK((converted<std::int64_t>(std::vector<std::uint64_t>{1ull << 63, ~0ull}) ==
         std::vector<std::int64_t>{kLeast, -1}));
}

TEST(large_tables_are_shared_among_threads) {
  const int before = num_threads();
  std::vector<std::uint8_t> pixels(3000 * 100);
  for (std::size_t i = 0; i < pixels.size(); ++i) pixels[i] = static_cast<std::uint8_t>(i * 37 % 251);
  std::vector<std::int64_t> rows;
  for (std::int64_t i = 0; i < 3000; ++i) rows.push_back(i * 1009 % 3000);
  for (const int threads : {1, 3}) {
    set_num_threads(threads);
    const auto out = gather<float>(table(pixels.data(), 3000, 100), rows);
    bool equal = true;
    for (std::size_t i = 0; i < 3000; ++i)
      for (std::size_t j = 0; j < 100; ++j)
        equal = equal && out[i * 100 + j] == pixels[static_cast<std::size_t>(rows[i]) * 100 + j];
    CHECK(equal);
  }
  set_num_threads(before);
}

namespace {

/// 21 rows of 2,055 columns from anywhere: eight rows at a time and pieces of rows at a time, with remainders
/// of both.
template <class From, class To>
bool gathers_long_rows() {
  constexpr std::size_t kColumns = 2055;
  std::vector<From> values(30 * kColumns);
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<From>(i * 37 % 251);
  std::vector<std::int64_t> rows;
  for (std::int64_t i = 0; i < 21; ++i) rows.push_back(i * 7 % 30);
  std::vector<To> expected;
  for (const std::int64_t row : rows)
    for (std::size_t j = 0; j < kColumns; ++j)
      expected.push_back(static_cast<To>(values[static_cast<std::size_t>(row) * kColumns + j]));
  return gather<To>(table(values.data(), 30, kColumns), rows) == expected;
}

}  // namespace

TEST(long_rows_are_read_side_by_side) {
  CHECK((gathers_long_rows<float, float>()));
  CHECK((gathers_long_rows<double, float>()));
  CHECK((gathers_long_rows<std::uint8_t, double>()));
}

TEST(empty_tables) {
  const Table no_columns{nullptr, ScalarType::float64, 5, 0, 0, 8};
  CHECK(gather<float>(no_columns, {4, 0}).empty());
  const Table no_rows{nullptr, ScalarType::float64, 0, 5, 40, 8};
  CHECK(gather_all<float>(no_rows).empty());
}

TEST(bad_arguments) {
  const std::vector<float> data(6, 1.0f);
  const Table source = table(data.data(), 3, 2);
  float out[8];
  std::memset(out, 0, sizeof out);
  const std::int64_t beyond[] = {0, 3}, negative[] = {0, 1, -1};
  CHECK_THROWS(gather_rows(source, beyond, 2, out), std::invalid_argument,
               "rows[1] must be in [0, 3); got 3");
  CHECK_THROWS(gather_rows(source, negative, 3, out), std::invalid_argument,
               "rows[2] must be in [0, 3); got -1");
  CHECK_THROWS(gather_rows(source, nullptr, 4, out), std::invalid_argument,
               "count must be at most the table's 3 rows; got 4");
  CHECK_THROWS(gather_rows(source, nullptr, -1, out), std::invalid_argument,
               "count must be at least 0; got -1");
  Table bad = source;
  bad.columns = -2;
  CHECK_THROWS(gather_rows(bad, nullptr, 1, out), std::invalid_argument,
               "columns must be at least 0; got -2");
  bad = source;
  bad.rows = -3;
  CHECK_THROWS(gather_rows(bad, nullptr, 0, out), std::invalid_argument, "rows must be at least 0; got -3");
  bad = source;
  bad.type = static_cast<ScalarType>(13);
  CHECK_THROWS(gather_rows(bad, nullptr, 1, out), std::invalid_argument, "type must be a ScalarType; got 13");
  for (const float v : out) CHECK(v == 0.0f);
}
