// exp, log, log1p, tanh and sigmoid of a vector: each lane by itself, with IEEE operations, fma, integer
// operations and blends only, so that every instruction set gives the same bits.
//
// exp, log and sigmoid have one algorithm for both types: reduce the argument exactly, evaluate one
// polynomial, restore the scale; sigmoid then forms a quotient with a correction. So does tanh in float64; in
// float32 it evaluates one of 32 polynomials, without a division. The polynomials are minimax fits, with
// coefficients rounded to the type.
//
// The errors given for the functions are the largest measured, in ULP: float32 over all inputs against the C
// library's double, float64 over ten million against its long double (tests/cpp/test_elementary.cpp).
#pragma once

#include "tanh_table.hpp"
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
/// A right shift fills with zeros. (AVX2 has no other right shift for 64 bits.)
template <class T>
using UnsignedVec = Vec<typename UnsignedOf<T>::type>;

template <class T>
struct Format;

template <>
struct Format<float> {
  static constexpr int mantissa_bits = 23;
  static constexpr int32_t exponent_bias = 127;
  static constexpr float smallest_normal = 0x1p-126f;
  static constexpr float largest = 0x1.fffffep127f;
  static constexpr float infinity = __builtin_inff();
  static constexpr float not_a_number = __builtin_nanf("");
  /// Added to a small x, it leaves round(x) in the low bits: for numbers of this size an ulp is 1.
  static constexpr float to_integer = 0x1.8p23f;
  /// ln 2 rounded, and what the rounding took from it.
  static constexpr float ln2 = 0x1.62e43p-1f;
  static constexpr float ln2_rest = -0x1.05c61p-29f;
  /// ln 2 in two parts; n * ln2_high is exact for every exponent n.
  static constexpr float ln2_high = 0x1.62e4p-1f;
  static constexpr float ln2_low = 0x1.7f7d1cp-20f;
  static constexpr float inverse_ln2 = 0x1.715476p0f;
  /// Beyond these limits exp is infinite or zero.
  static constexpr float exp_highest = 89;
  static constexpr float exp_lowest = -104;
  /// The probability that a standard normal number is beyond this is 0.
  static constexpr float normal_beyond = 14;
};

template <>
struct Format<double> {
  static constexpr int mantissa_bits = 52;
  static constexpr int64_t exponent_bias = 1023;
  static constexpr double smallest_normal = 0x1p-1022;
  static constexpr double largest = 0x1.fffffffffffffp1023;
  static constexpr double infinity = __builtin_inf();
  static constexpr double not_a_number = __builtin_nan("");
  static constexpr double to_integer = 0x1.8p52;
  static constexpr double ln2 = 0x1.62e42fefa39efp-1;
  static constexpr double ln2_rest = 0x1.abc9e3b39803fp-56;
  static constexpr double ln2_high = 0x1.62e42feep-1;
  static constexpr double ln2_low = 0x1.a39ef35793c76p-33;
  static constexpr double inverse_ln2 = 0x1.71547652b82fep0;
  static constexpr double exp_highest = 710;
  static constexpr double exp_lowest = -746;
  static constexpr double normal_beyond = 39;
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

/// (e^r - 1 - r) / r^2 for |r| <= ln(2) / 2. Approximation error 2^-28 of e^r in float32, 2^-60 of e^r - 1 in
/// float64.
NNCORE_INLINE Vec<float> exp_polynomial(Vec<float> r) {
  return polynomial<float>(r, 0.5f, 0.166665196f, 0.0416663885f, 0.00836875942f, 0.00139420258f);
}
NNCORE_INLINE Vec<double> exp_polynomial(Vec<double> r) {
  return polynomial<double>(r, 0.5, 0.1666666666666667, 0.04166666666666667, 0.008333333333326141,
                            0.0013888888888883752, 0.00019841269874802504, 2.48015873255348e-05,
                            2.755725542319278e-06, 2.755727365952505e-07, 2.5105207436985358e-08,
                            2.091468013569995e-09);
}

/// (log((1 + s) / (1 - s)) / s - 2) / s^2 from z = s^2 <= 1/25. Approximation error 2^-35 in float32, 2^-62
/// in float64.
NNCORE_INLINE Vec<float> log_polynomial(Vec<float> z) {
  return polynomial<float>(z, 0.666666627f, 0.400009334f, 0.285035163f, 0.24151592f);
}
NNCORE_INLINE Vec<double> log_polynomial(Vec<double> z) {
  return polynomial<double>(z, 0.66666666666666596, 0.4000000000005664, 0.28571428555841477,
                            0.22222224294683884, 0.1818166599738095, 0.15391107436435741, 0.13173686130793016,
                            0.13842362983050552);
}

template <class T>
NNCORE_INLINE UnsignedVec<T> sign_bit() {
  return bit_cast<UnsignedVec<T>>(broadcast<T>(T(-0.0)));
}

template <class T>
NNCORE_INLINE Vec<T> magnitude(Vec<T> x) {
  return bit_cast<Vec<T>>(bit_cast<UnsignedVec<T>>(x) & ~sign_bit<T>());
}

/// x = n ln 2 + r with |r| <= ln(2) / 2. `shifted` has n + bias in its low bits.
template <class T>
struct Reduced {
  Vec<T> n, shifted;

  NNCORE_INLINE Reduced(Vec<T> x, T bias)
      : shifted(fma(x, broadcast<T>(Format<T>::inverse_ln2), broadcast<T>(Format<T>::to_integer + bias))) {
    n = shifted - (Format<T>::to_integer + bias);
  }
  /// x - n ln2, exactly: both are multiples of the last place of 1/4, and the difference is below 1/2.
  NNCORE_INLINE Vec<T> remainder(Vec<T> x) const { return fma(n, broadcast<T>(-Format<T>::ln2), x); }
  /// r plus what the rounding of ln2 took from it.
  NNCORE_INLINE Vec<T> with_rest(Vec<T> r) const { return fma(n, broadcast<T>(-Format<T>::ln2_rest), r); }
};

/// 2^k, where the low bits are k + exponent_bias.
template <class T>
NNCORE_INLINE Vec<T> power_of_two(UnsignedVec<T> low_bits) {
  return bit_cast<Vec<T>>(low_bits << Format<T>::mantissa_bits);
}

/// v 2^n, rounded once, for v near 1 and bias = 2 exponent_bias. Multiplies by two powers of two, because 2^n
/// alone may be infinite or subnormal where the result is not.
template <class T>
NNCORE_INLINE Vec<T> scaled(Vec<T> v, const Reduced<T>& x) {
#if NNCORE_VECTOR_BYTES == 64
  return scale_by_power(v, x.n);
#else
  using Bits = UnsignedVec<T>;
  const Bits exponents = bit_cast<Bits>(x.shifted);
  const Bits half = exponents >> 1;
  return v * power_of_two<T>(half) * power_of_two<T>(exponents - half);
#endif
}

/// e^x. Error 0.909 in float32, 0.880 in float64.
template <class T>
NNCORE_INLINE Vec<T> exp(Vec<T> x) {
  using F = Format<T>;
  x = max(broadcast<T>(F::exp_lowest), min(broadcast<T>(F::exp_highest), x));
  const Reduced<T> reduced(x, 2 * F::exponent_bias);
  const Vec<T> r = reduced.with_rest(reduced.remainder(x));
  const Vec<T> one = broadcast<T>(1);
  return scaled<T>(fma(r, fma(r, exp_polynomial(r), one), one), reduced);
}

/// log(2^k (1 + f)) for an integer k and -1/4 <= f <= 1/2, so that k ln 2 is zero or larger than |f|.
/// With s = f / (2 + f), log(1 + f) = log((1 + s) / (1 - s)) = f - f^2/2 + s (f^2/2 + s^2 polynomial):
/// f is exact, and the terms that are rounded are small beside the result.
template <class T>
NNCORE_INLINE Vec<T> reduced_log(Vec<T> k, Vec<T> f) {
  using F = Format<T>;
  const Vec<T> s = f / (2 + f);
  const Vec<T> z = s * s;
  const Vec<T> half_f = f * T(0.5);
  const Vec<T> k_ln2 = k * F::ln2_high;  // exact
  const Vec<T> sum = k_ln2 + f;
  const Vec<T> lost = f - (sum - k_ln2);  // lost by rounding the sum; exact
  Vec<T> rest = fma(k, broadcast<T>(F::ln2_low), lost);
  rest = fma(s, fma(z, log_polynomial(z), half_f * f), rest);
  rest = fma(-half_f, f, rest);
  return sum + rest;
}

/// Natural logarithm: -infinity for 0, NaN for x < 0. Error 0.799 in float32, 0.790 in float64.
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
  // The exponent field, as the low bits of a number near 2^mantissa_bits, where an ulp is 1.
  const Vec<T> field = bit_cast<Vec<T>>((bits >> F::mantissa_bits) | two_power_bits);
  const Vec<T> k = field - (subnormal ? broadcast<T>(two_power + F::exponent_bias + F::mantissa_bits)
                                      : broadcast<T>(two_power + F::exponent_bias));
  const Vec<T> m = bit_cast<Vec<T>>((bits & fraction_mask) + three_quarters);  // in [3/4, 3/2)
  const Vec<T> result = reduced_log<T>(k, m - 1);

  const Vec<T> below = x < 0 ? broadcast<T>(F::not_a_number) : x;  // x is infinity or NaN
  const Vec<T> special = x == 0 ? broadcast<T>(-F::infinity) : below;
  return (x > 0) & (x < F::infinity) ? result : special;
}

/// log(1 + x) for x from 0 to 1, all that log(1 + e^-|z|) needs. Error 0.799 in float32, 0.799 in float64.
template <class T>
NNCORE_INLINE Vec<T> log1p(Vec<T> x) {
  const auto upper = x > T(0.5);  // there 1 + x = 2 (1 + (x - 1) / 2), exactly
  return reduced_log<T>(upper ? broadcast<T>(1) : broadcast<T>(0), upper ? (x - 1) * T(0.5) : x);
}

template <class T>
NNCORE_INLINE Vec<T> with_sign_of(Vec<T> x, Vec<T> not_negative) {
  using Bits = UnsignedVec<T>;
  return bit_cast<Vec<T>>(bit_cast<Bits>(not_negative) | (bit_cast<Bits>(x) & sign_bit<T>()));
}

/// Each type has its own algorithm.
template <class T>
Vec<T> tanh(Vec<T> x);

/// Odd: the sign is restored as a bit, so that tanh(-0) is -0. One of 32 polynomials. Error 0.995, from the
/// first polynomial, whose value is x times a rounded factor; beyond 5/64 the error is 0.744.
template <>
NNCORE_INLINE Vec<float> tanh<float>(Vec<float> x) {
  constexpr float saturated = 9.2f, lowest_octave = 0x1p-4f;
  const Vec<float> a = min(broadcast<float>(saturated), magnitude<float>(x));
  const auto piece = bit_cast<UnsignedVec<float>>(max(broadcast<float>(lowest_octave), a)) >> 21;
  const Coefficients c = look_up<7>(kTanh, piece);
  const Vec<float> d = a - c[0];  // exact: a and its center are within a factor of two
  const Vec<float> d2 = d * d;
  const Vec<float> high = fma(d2, c[6], fma(d, c[5], c[4]));
  const Vec<float> slope = fma(d2, high, fma(d, c[3], c[2]));
  return with_sign_of<float>(x, fma(d, slope, c[1]));
}

/// M / (1 - M) with M = (1 - e^y) / 2 and y = -2 |x|. M is the sum of a high and a low part, and the quotient
/// is corrected once. Error 0.874.
template <>
NNCORE_INLINE Vec<double> tanh<double>(Vec<double> x) {
  using F = Format<double>;
  // 2^n stays at least half an ulp of 1, so that 1 - 2^n is exact; r then grows to 1.9 for the largest
  // arguments.
  constexpr double saturated = 19.3, smallest = F::to_integer + F::exponent_bias - 1 - F::mantissa_bits - 1;
  const Vec<double> a = min(broadcast<double>(saturated), magnitude<double>(x));
  const Vec<double> y = -2 * a;
  Reduced<double> reduced(y, F::exponent_bias - 1);
  reduced.shifted = max(broadcast<double>(smallest), reduced.shifted);
  reduced.n = reduced.shifted - (F::to_integer + F::exponent_bias - 1);
  const Vec<double> r = reduced.remainder(y);
  const Vec<double> scale = power_of_two<double>(bit_cast<UnsignedVec<double>>(reduced.shifted));

  const Vec<double> whole = 0.5 - scale;
  const Vec<double> high = fma(-scale, r, whole);
  const Vec<double> curved = fma(r * r, exp_polynomial(r), reduced.n * -F::ln2_rest);
  const Vec<double> low = fma(-scale, curved, fma(-scale, r, whole - high));
  const Vec<double> reciprocal = 1 / ((1 - high) - low);
  const Vec<double> quotient = (high + low) * reciprocal;
  const Vec<double> residual = fma(low, 1 + quotient, fma(quotient, high, high - quotient));
  return with_sign_of<double>(x, fma(residual, reciprocal, quotient));
}

/// 1 / (1 + e^|x|) for negative x, and one minus that otherwise. With e^|x| = 2^n (1 + p) the divisor is
/// known beyond its last place, which corrects the quotient. Nothing overflows, and the far tail is as
/// accurate as exp, including subnormal results. Error 0.987 in float32, 0.949 in float64.
template <class T>
NNCORE_INLINE Vec<T> sigmoid(Vec<T> x) {
  using F = Format<T>;
  using Bits = UnsignedVec<T>;
  constexpr T bias = F::exponent_bias, largest = 64;
  const Vec<T> a = min(broadcast<T>(-F::exp_lowest), magnitude<T>(x));
  const Reduced<T> reduced(a, bias);
  const Vec<T> r = reduced.with_rest(reduced.remainder(a));
  const Vec<T> p = fma(r * r, exp_polynomial(r), r);
  // From 2^largest on, adding 1 has no effect. The rest of the power of two is applied at the end, lest the
  // quotient be rounded twice.
  const Vec<T> capped = min(broadcast<T>(F::to_integer + bias + largest), reduced.shifted);
  const Bits rest = bit_cast<Bits>(capped) - bit_cast<Bits>(reduced.shifted) + Bits(broadcast_int<T>(bias));
  const Vec<T> scale = power_of_two<T>(bit_cast<Bits>(capped));

  const Vec<T> divisor = fma(scale, p, 1 + scale);
  const Vec<T> lost = fma(scale, p, (scale - divisor) + 1);
  const Vec<T> reciprocal = 1 / divisor;
  const Vec<T> one = broadcast<T>(1);
  const Vec<T> residual = fma(-reciprocal, lost, fma(-reciprocal, divisor, one));
  const Vec<T> below = fma(residual, reciprocal, reciprocal) * power_of_two<T>(rest);
  return x < 0 ? below : 1 - below;
}

/// M(a) (a + k) for 0 <= a <= normal_beyond, as a polynomial in t = scale / (a + k) + shift in [-1, 1]. M is
/// the Mills ratio: the normal probability beyond a over the density at a. Approximation error 2^-23.4 in
/// float32, 2^-52.9 in float64.
NNCORE_INLINE Vec<float> mills_polynomial(Vec<float> q) {
  const Vec<float> t = fma(q, broadcast<float>(10.285714149475098f), broadcast<float>(-1.5714285373687744f));
  return polynomial<float>(t, 2.2852652f, 1.5798017f, 0.80376476f, 0.28663254f, 0.06017431f, 0.0009677784f,
                           -0.0030981554f, -0.0004307623f, 0.00014831132f, 0.00003084395f);
}
NNCORE_INLINE Vec<double> mills_polynomial(Vec<double> q) {
  const Vec<double> t = fma(q, broadcast<double>(11.282051282051283), broadcast<double>(-1.2564102564102564));
  return polynomial<double>(t, 2.134869344261606, 1.7577129402247427, 1.2131827573221525, 0.6948836604252806,
                            0.3225280233669775, 0.11523705366417099, 0.027736789341785553,
                            0.0021625900850255324, -0.0013143542392559844, -0.0004843496803971094,
                            1.1207493736082673e-05, 4.464267844895402e-05, 4.653286796212075e-06,
                            -3.971156736159352e-06, -7.393593232401593e-07, 4.0184583100802053e-07,
                            8.679666878748864e-08, -4.695765708743374e-08, -8.393978616278415e-09,
                            5.479028426436395e-09, 5.209918499233634e-10, -4.2839480052839914e-10);
}

/// For a standard normal number: the probability that it is below z, and the density at z.
template <class T>
struct NormalProbability {
  Vec<T> below, density;
};

/// The density e^(-z^2 / 2) / sqrt(2 pi), corrected for the rounding of the exponent, times the Mills ratio
/// is the probability beyond |z|. Accurate in the tails, too.
template <class T>
NNCORE_INLINE NormalProbability<T> normal_probability(Vec<T> z) {
  using F = Format<T>;
  constexpr T k = sizeof(T) == 4 ? T(4) : T(5);
  const Vec<T> a = min(broadcast<T>(F::normal_beyond), magnitude<T>(z));
  const Vec<T> half = T(-0.5) * a;
  const Vec<T> exponent = half * a;
  const Vec<T> power = exp<T>(exponent);
  const Vec<T> density = T(0.3989422804014327) * fma(power, fma(half, a, -exponent), power);
  const Vec<T> q = 1 / (a + k);
  const Vec<T> beyond = density * (q * mills_polynomial(q));
  return {z < 0 ? beyond : 1 - beyond, density};
}

}  // namespace
