// exp, log, log1p, tanh and sigmoid of a vector: each lane by itself, by IEEE operations, fma, integer
// operations and blends only, so that every instruction set gives the same bits.
//
// One algorithm a function: reduce the argument exactly, one polynomial, put the scale back. The two
// types differ only in the constants. The polynomials are minimax fits, their coefficients rounded to the
// type.
//
// The errors of the functions are the largest measured, in ULP: float32 over all inputs against the C
// library's double, float64 over ten million against its long double.
#pragma once

#include "vec.hpp"

namespace {

template <class T>
struct UnsignedOf;
template <>
struct UnsignedOf<float> {
  typedef uint32_t type;
};
template <>
struct UnsignedOf<double> {
  typedef uint64_t type;
};
/// Shifts right with zeros. (AVX2 has no other shift for 64 bits.)
template <class T>
using UnsignedVec = Vec<typename UnsignedOf<T>::type>;

template <class T>
struct Format;

template <>
struct Format<float> {
  static constexpr int mantissa_bits = 23;
  static constexpr int32_t exponent_bias = 127;
  static constexpr float smallest_normal = 0x1p-126f;
  static constexpr float infinity = __builtin_inff();
  static constexpr float not_a_number = __builtin_nanf("");
  /// Added to a small x, it leaves round(x) in the low bits (at two to this power an ulp is 1).
  static constexpr float to_integer = 0x1.8p23f;
  /// ln 2 in two parts; n * ln2_high is exact for every exponent n.
  static constexpr float ln2_high = 0x1.62e4p-1f;
  static constexpr float ln2_low = 0x1.7f7d1cp-20f;
  static constexpr float inverse_ln2 = 0x1.715476p0f;
  /// Beyond these exp is infinite, or zero.
  static constexpr float exp_highest = 89;
  static constexpr float exp_lowest = -104;
  /// From here on tanh rounds to 1.
  static constexpr float tanh_saturated = 10;
};

template <>
struct Format<double> {
  static constexpr int mantissa_bits = 52;
  static constexpr int64_t exponent_bias = 1023;
  static constexpr double smallest_normal = 0x1p-1022;
  static constexpr double infinity = __builtin_inf();
  static constexpr double not_a_number = __builtin_nan("");
  static constexpr double to_integer = 0x1.8p52;
  static constexpr double ln2_high = 0x1.62e42feep-1;
  static constexpr double ln2_low = 0x1.a39ef35793c76p-33;
  static constexpr double inverse_ln2 = 0x1.71547652b82fep0;
  static constexpr double exp_highest = 710;
  static constexpr double exp_lowest = -746;
  static constexpr double tanh_saturated = 20;
};

/// c0 + c1 x + c2 x^2 + ...
template <class T>
NNCORE_INLINE Vec<T> polynomial(Vec<T>, T c0) {
  return broadcast<T>(c0);
}
template <class T, class... Rest>
NNCORE_INLINE Vec<T> polynomial(Vec<T> x, T c0, Rest... rest) {
  return fma(polynomial<T>(x, rest...), x, broadcast<T>(c0));
}

/// (e^r - 1 - r) / r^2 for |r| <= ln(2) / 2. Its own error is 2^-28 and 2^-57 of e^r.
NNCORE_INLINE Vec<float> exp_polynomial(Vec<float> r) {
  return polynomial<float>(r, 0.5f, 0.166665196f, 0.0416663885f, 0.00836875942f, 0.00139420258f);
}
NNCORE_INLINE Vec<double> exp_polynomial(Vec<double> r) {
  return polynomial<double>(r, 0.5, 0.16666666666666685, 0.041666666666602632, 0.0083333333333139477,
                            0.0013888888927339564, 0.00019841269904870133, 2.4801507995367866e-05,
                            2.7557226109323201e-06, 2.7625460826007013e-07, 2.5115088237858642e-08);
}

/// (log((1 + s) / (1 - s)) / s - 2) / s^2 from z = s^2 <= 1/25. Own error 2^-35 and 2^-62.
NNCORE_INLINE Vec<float> log_polynomial(Vec<float> z) {
  return polynomial<float>(z, 0.666666627f, 0.400009334f, 0.285035163f, 0.24151592f);
}
NNCORE_INLINE Vec<double> log_polynomial(Vec<double> z) {
  return polynomial<double>(z, 0.66666666666666596, 0.4000000000005664, 0.28571428555841477,
                            0.22222224294683884, 0.1818166599738095, 0.15391107436435741, 0.13173686130793016,
                            0.13842362983050552);
}

/// (tanh(x) / x - 1) / x^2 from z = x^2 <= 1. Own error 2^-30 and 2^-59 of tanh.
NNCORE_INLINE Vec<float> tanh_polynomial(Vec<float> z) {
  return polynomial<float>(z, -0.333333284f, 0.133331746f, -0.0539507233f, 0.0217744447f, -0.00857145712f,
                           0.0030488763f, -0.000821896363f, 0.000116449846f);
}
NNCORE_INLINE Vec<double> tanh_polynomial(Vec<double> z) {
  return polynomial<double>(
      z, -0.33333333333333298, 0.13333333333329114, -0.053968253966472056, 0.021869488498049049,
      -0.0088632350438566758, 0.0035921239797056053, -0.0014558109026742633, 0.00058992947356590567,
      -0.00023882696131002153, 9.6214731475159859e-05, -3.8044250205930482e-05, 1.4259018373306872e-05,
      -4.7426365944006784e-06, 1.2638396766572423e-06, -2.3084623159457734e-07, 2.1022305984208559e-08);
}

template <class T>
NNCORE_INLINE UnsignedVec<T> sign_bit() {
  return bit_cast<UnsignedVec<T>>(broadcast<T>(T(-0.0)));
}

template <class T>
NNCORE_INLINE Vec<T> magnitude(Vec<T> x) {
  return bit_cast<Vec<T>>(bit_cast<UnsignedVec<T>>(x) & ~sign_bit<T>());
}

/// e^x = (1 + fraction) * scale1 * scale2, the first factor in [0.7, 1.42]. Two powers of two, because
/// 2^n alone overflows, or is subnormal, for some x whose e^x is in range.
template <class T>
struct Exponential {
  Vec<T> fraction, scale1, scale2;
};

/// x = n ln 2 + r with |r| <= ln(2) / 2, and e^r - 1 = r + r^2 polynomial(r). For x from exp_lowest to
/// exp_highest; NaN gives a NaN fraction.
template <class T>
NNCORE_INLINE Exponential<T> reduced_exp(Vec<T> x) {
  using F = Format<T>;
  using Bits = UnsignedVec<T>;
  // The low bits of `shifted` are n + 2 bias: the sum of the exponent fields of the two scales.
  const Vec<T> shift = broadcast<T>(F::to_integer + 2 * F::exponent_bias);
  const Vec<T> shifted = fma(x, broadcast<T>(F::inverse_ln2), shift);
  const Vec<T> n = shifted - shift;
  const Vec<T> high = fma(n, broadcast<T>(-F::ln2_high), x);  // exact
  const Vec<T> low = n * -F::ln2_low;
  const Vec<T> r = high + low;
  const Bits exponents = bit_cast<Bits>(shifted);
  const Bits exponent1 = exponents >> 1;
  const Bits exponent2 = exponents - exponent1;
  return {high + fma(r * r, exp_polynomial(r), low), bit_cast<Vec<T>>(exponent1 << F::mantissa_bits),
          bit_cast<Vec<T>>(exponent2 << F::mantissa_bits)};
}

/// e^x. Error 0.892 in float32, 0.873 in float64.
template <class T>
NNCORE_INLINE Vec<T> exp(Vec<T> x) {
  using F = Format<T>;
  x = max(broadcast<T>(F::exp_lowest), min(broadcast<T>(F::exp_highest), x));
  const Exponential<T> e = reduced_exp<T>(x);
  return (1 + e.fraction) * e.scale1 * e.scale2;
}

/// log(2^k (1 + f)) for an integer k and -1/4 <= f <= 1/2, so that k ln 2 is zero or larger than |f|.
/// With s = f / (2 + f), log(1 + f) = log((1 + s) / (1 - s)) = f - f^2/2 + s (f^2/2 + s^2 polynomial):
/// f is exact, and what is rounded is small beside the result.
template <class T>
NNCORE_INLINE Vec<T> reduced_log(Vec<T> k, Vec<T> f) {
  using F = Format<T>;
  const Vec<T> s = f / (2 + f);
  const Vec<T> z = s * s;
  const Vec<T> half_f = f * T(0.5);
  const Vec<T> k_ln2 = k * F::ln2_high;  // exact
  const Vec<T> sum = k_ln2 + f;
  const Vec<T> lost = f - (sum - k_ln2);  // by rounding the sum; exact
  Vec<T> rest = fma(k, broadcast<T>(F::ln2_low), lost);
  rest = fma(s, fma(z, log_polynomial(z), half_f * f), rest);
  rest = fma(-half_f, f, rest);
  return sum + rest;
}

/// Natural logarithm: -infinity for 0, NaN below. Error 0.799 in float32, 0.790 in float64.
template <class T>
NNCORE_INLINE Vec<T> log(Vec<T> x) {
  using F = Format<T>;
  using Bits = UnsignedVec<T>;
  using Word = typename UnsignedOf<T>::type;
  constexpr Word one = Word(F::exponent_bias) << F::mantissa_bits;
  constexpr Word three_quarters = one - (Word(1) << (F::mantissa_bits - 1));
  constexpr Word fraction_mask = (Word(1) << F::mantissa_bits) - 1;
  constexpr T two_power = T(Word(1) << F::mantissa_bits);  // large enough to make a subnormal normal
  constexpr Word two_power_bits = one + (Word(F::mantissa_bits) << F::mantissa_bits);

  const auto subnormal = x < F::smallest_normal;
  const Bits bits = bit_cast<Bits>(subnormal ? x * two_power : x) + (one - three_quarters);
  // The exponent field, as the low bits of a number of the size 2^mantissa_bits, where an ulp is 1.
  const Vec<T> field = bit_cast<Vec<T>>((bits >> F::mantissa_bits) | two_power_bits);
  const Vec<T> k = field - (subnormal ? broadcast<T>(two_power + F::exponent_bias + F::mantissa_bits)
                                      : broadcast<T>(two_power + F::exponent_bias));
  const Vec<T> m = bit_cast<Vec<T>>((bits & fraction_mask) + three_quarters);  // in [3/4, 3/2)
  const Vec<T> result = reduced_log<T>(k, m - 1);

  const Vec<T> below = x < 0 ? broadcast<T>(F::not_a_number) : x;  // x: infinity or NaN
  const Vec<T> special = x == 0 ? broadcast<T>(-F::infinity) : below;
  return (x > 0) & (x < F::infinity) ? result : special;
}

/// log(1 + x), for x from 0 to 1 only: what log(1 + e^-|z|) needs. Error 0.799 in float32, 0.799
/// in float64.
template <class T>
NNCORE_INLINE Vec<T> log1p(Vec<T> x) {
  const auto upper = x > T(0.5);  // there 1 + x = 2 (1 + (x - 1) / 2), exactly
  return reduced_log<T>(upper ? broadcast<T>(1) : broadcast<T>(0), upper ? (x - 1) * T(0.5) : x);
}

/// Odd, and the sign is put back as a bit: tanh(-0) is -0. Below 1 a polynomial, above it
/// 1 - 2 / (e^(2x) + 1). Error 0.886 in float32, 0.881 in float64.
template <class T>
NNCORE_INLINE Vec<T> tanh(Vec<T> x) {
  using Bits = UnsignedVec<T>;
  const Vec<T> a = min(broadcast<T>(Format<T>::tanh_saturated), magnitude<T>(x));
  const Vec<T> z = a * a;
  const Vec<T> inner = fma(a * z, tanh_polynomial(z), a);
  const Exponential<T> e = reduced_exp<T>(a + a);
  const Vec<T> scale = e.scale1 * e.scale2;
  const Vec<T> outer = 1 - 2 / fma(scale, e.fraction, scale + 1);
  const Vec<T> result = a < 1 ? inner : outer;
  return bit_cast<Vec<T>>(bit_cast<Bits>(result) | (bit_cast<Bits>(x) & sign_bit<T>()));
}

/// 1 / (1 + e^-|x|) for x >= 0 and e^-|x| / (1 + e^-|x|) below: nothing overflows, and the far tail is as
/// accurate as exp, down to its subnormals. What rounding takes from 1 + e^-|x| and from e^-|x| is kept and
/// goes into one correction of the quotient. Error 0.930 in float32, 0.922 in float64.
template <class T>
NNCORE_INLINE Vec<T> sigmoid(Vec<T> x) {
  const Vec<T> zero = broadcast<T>(0), one = broadcast<T>(1);
  const Exponential<T> e = reduced_exp<T>(max(broadcast<T>(Format<T>::exp_lowest), -magnitude<T>(x)));
  const Vec<T> scale = e.scale1 * e.scale2;
  const Vec<T> mantissa = 1 + e.fraction;
  const Vec<T> mantissa_low = e.fraction - (mantissa - 1);
  const Vec<T> power = mantissa * scale;
  const Vec<T> denominator = 1 + power;
  const Vec<T> denominator_low = fma(mantissa_low, scale, power - (denominator - 1));

  const auto negative = x < 0;  // the numerator waits for its scale: in the tail it would be subnormal
  const Vec<T> numerator = negative ? mantissa : one;
  const Vec<T> numerator_low = negative ? mantissa_low : zero;
  const Vec<T> reciprocal = 1 / denominator;
  const Vec<T> quotient = numerator * reciprocal;
  const Vec<T> residual =
      fma(-quotient, denominator, numerator) + fma(-quotient, denominator_low, numerator_low);
  const Vec<T> result = fma(residual, reciprocal, quotient);
  return result * (negative ? e.scale1 : one) * (negative ? e.scale2 : one);
}

}  // namespace
