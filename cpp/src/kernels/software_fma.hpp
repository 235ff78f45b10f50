// a b + c, rounded once, on processors without a fused operation. The C library's own is not used: that of
// mingw-w64 rounds twice, and a call for every number is slow.
//
// Both precisions add in pieces whose errors are known, and round the last sum to odd, so that the final
// rounding is that of the exact sum (Boldo and Melquiond 2008, "Emulation of FMA and correctly rounded
// sums").
#pragma once

#include <stdint.h>

namespace {

typedef VectorType<float, 2>::type TwoFloats;
typedef VectorType<double, 2>::type TwoDoubles;
typedef VectorType<int64_t, 2>::type TwoInts;

/// a + b and the error of that sum, which a float64 holds (Knuth's TwoSum).
struct ExactSum {
  TwoDoubles sum, error;
};
NNCORE_INLINE ExactSum exact_sum(TwoDoubles a, TwoDoubles b) {
  const TwoDoubles sum = a + b;
  const TwoDoubles back = sum - a;
  return {sum, (a - (sum - back)) + (b - back)};
}

/// a + b rounded to odd: an inexact sum becomes whichever of its two neighbors has an odd last bit.
NNCORE_INLINE TwoDoubles sum_to_odd(TwoDoubles a, TwoDoubles b) {
  const ExactSum exact = exact_sum(a, b);
  const TwoInts bits = bit_cast<TwoInts>(exact.sum);
  // An inexact even sum steps to its neighbor on the error's side. NaN compares false throughout.
  const TwoInts inexact = (exact.error > 0) | (exact.error < 0);
  const TwoInts away = (exact.error > 0) ^ (exact.sum < 0);  // -1: the error adds to the magnitude
  const TwoInts step = (-away * 2 - 1) & inexact & ((bits & 1) - 1);
  return bit_cast<TwoDoubles>(bits + step);
}

/// The product of two float32 is exact in float64, whose 53 bits are more than the 2 x 24 + 2 that the sum
/// needs.
NNCORE_INLINE TwoFloats software_fma(TwoFloats a, TwoFloats b, TwoFloats c) {
  const TwoDoubles product = __builtin_convertvector(a, TwoDoubles) * __builtin_convertvector(b, TwoDoubles);
  return __builtin_convertvector(sum_to_odd(product, __builtin_convertvector(c, TwoDoubles)), TwoFloats);
}

__extension__ typedef unsigned __int128 Wide;

/// A positive number, mantissa 2^exponent, with the mantissa's first bit in place 125.
struct WideNumber {
  Wide mantissa;
  int exponent;
};

inline int first_bit(Wide x) {
  const uint64_t high = static_cast<uint64_t>(x >> 64);
  return high != 0 ? 127 - __builtin_clzll(high) : 63 - __builtin_clzll(static_cast<uint64_t>(x));
}

inline WideNumber normalized(Wide mantissa, int exponent) {
  const int shift = 125 - first_bit(mantissa);
  return {mantissa << shift, exponent - shift};
}

/// Bits of a finite number's mantissa, and the exponent of the last of them.
inline uint64_t mantissa_of(uint64_t bits) {
  const uint64_t fraction = bits & ((uint64_t{1} << 52) - 1);
  return (bits >> 52 & 0x7ff) == 0 ? fraction : fraction | uint64_t{1} << 52;
}
inline int exponent_of(uint64_t bits) {
  const int biased = static_cast<int>(bits >> 52 & 0x7ff);
  return (biased == 0 ? 1 : biased) - 1075;
}

/// a b + c in integers, for any three numbers.
__attribute__((noinline)) double integer_fma(double a, double b, double c) {
  constexpr uint64_t kInfinity = uint64_t{0x7ff} << 52, kSign = uint64_t{1} << 63;
  const uint64_t x = bit_cast<uint64_t>(a), y = bit_cast<uint64_t>(b), z = bit_cast<uint64_t>(c);
  const bool finite_product = (x & kInfinity) != kInfinity && (y & kInfinity) != kInfinity;
  if (!finite_product || a == 0.0 || b == 0.0) return a * b + c;  // exact, but for the sum
  if ((z & kInfinity) == kInfinity) return c + c;  // the product may overflow; the sum does not
  if (c == 0.0) return a * b;

  const uint64_t product_sign = (x ^ y) & kSign;
  WideNumber large = normalized(Wide{mantissa_of(x)} * mantissa_of(y), exponent_of(x) + exponent_of(y));
  WideNumber small = normalized(mantissa_of(z), exponent_of(z));
  uint64_t sign = product_sign;
  const bool subtract = product_sign != (z & kSign);
  if (small.exponent > large.exponent ||
      (small.exponent == large.exponent && small.mantissa > large.mantissa)) {
    const WideNumber swapped = large;
    large = small;
    small = swapped;
    sign = z & kSign;
  }
  // The bits that the alignment drops are one bit more, which is odd where the larger number is even.
  const int distance = large.exponent - small.exponent;
  const Wide aligned = distance < 126 ? small.mantissa >> distance : 0;
  const Wide dropped = distance < 126 ? small.mantissa & ((Wide{1} << distance) - 1) : 1;
  const Wide addend = aligned | Wide{dropped != 0};
  const Wide sum = subtract ? large.mantissa - addend : large.mantissa + addend;
  if (sum == 0) return 0.0;

  const int top = first_bit(sum), exponent = large.exponent;
  if (exponent + top > 1023) return bit_cast<double>(sign | kInfinity);
  const int last_normal = top - 52, last_subnormal = -1074 - exponent;
  const int shift = last_normal > last_subnormal ? last_normal : last_subnormal;
  if (shift > 127) return bit_cast<double>(sign);
  uint64_t rounded = static_cast<uint64_t>(shift > 0 ? sum >> shift : sum << -shift);
  if (shift > 0) {
    const Wide rest = sum & ((Wide{1} << shift) - 1), half = Wide{1} << (shift - 1);
    rounded += rest > half || (rest == half && rounded % 2 == 1);
  }
  // The mantissa's first bit, if there, adds one to the exponent field; so does a carry of the rounding.
  return bit_cast<double>(sign | ((static_cast<uint64_t>(exponent + shift + 1074) << 52) + rounded));
}

/// In vectors where no step underflows or overflows; a product of 0 needs no second piece. A function of its
/// own: inlined into the hundreds of chains of the kernels, it would fill a third of the library.
__attribute__((noinline)) TwoDoubles software_fma(TwoDoubles a, TwoDoubles b, TwoDoubles c) {
  constexpr int64_t kMagnitude = ~(uint64_t{1} << 63);
  const auto magnitude = [](TwoDoubles v) { return bit_cast<TwoDoubles>(bit_cast<TwoInts>(v) & kMagnitude); };
  const TwoDoubles product = a * b;
  const TwoInts zero = (a == 0) | (b == 0);
  const TwoInts usual = (magnitude(a) <= 0x1p450) & (magnitude(b) <= 0x1p450) & (magnitude(c) <= 0x1p900) &
                        ((magnitude(product) >= 0x1p-450) | zero);
  if (__builtin_expect((usual[0] & usual[1]) == 0, 0))
    return TwoDoubles{integer_fma(a[0], b[0], c[0]), integer_fma(a[1], b[1], c[1])};

  // Halves of 26 bits, whose products are exact (Veltkamp and Dekker).
  constexpr double kSplit = 0x1p27 + 1;
  const TwoDoubles a_scaled = a * kSplit, b_scaled = b * kSplit;
  const TwoDoubles a_high = a_scaled - (a_scaled - a), b_high = b_scaled - (b_scaled - b);
  const TwoDoubles a_low = a - a_high, b_low = b - b_high;
  const TwoDoubles product_error =
      ((a_high * b_high - product) + a_high * b_low + a_low * b_high) + a_low * b_low;

  const ExactSum low = exact_sum(c, product_error);
  const ExactSum high = exact_sum(product, low.sum);
  const TwoDoubles sum = high.sum + sum_to_odd(low.error, high.error);
  return zero ? product + c : sum;
}

}  // namespace
