// Random numbers: the Philox generator, and the distributions made from its output.
#include "nncore/random.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <utility>

#include "functions/join.hpp"
#include "kernels/table.hpp"
#include "nncore/entries.hpp"
#include "nncore/runtime.hpp"

namespace nncore {
namespace {

/// The random bits of the elements that one call of the kernel draws: 64 bits each, two from each block.
using Bits = std::array<std::uint64_t, 2 * kernels::kPhiloxBlocks>;

constexpr auto kBitsAtOnce = static_cast<std::int64_t>(Bits{}.size());
constexpr std::int64_t kGrain = 256;  ///< up to this many `Bits` are drawn on one thread

/// Draws the random bits of the elements of a stream.
///
/// A counter consists of the block's number (48 bits, since 2^49 elements exceed any address space), the
/// purpose (16 bits) and the stream's index (64 bits). The key is the seed. No two blocks share counter and
/// key.
class BitSource {
 public:
  explicit BitSource(const RandomStream& stream)
      : stream_(stream), kernel_(kernels::active<float>().philox) {}

  /// The bits of elements first, first + 1, ...; `first` is a multiple of kBitsAtOnce.
  void draw(std::int64_t first, Bits& bits) const {
    const auto low = [](std::uint64_t x) { return static_cast<std::uint32_t>(x); };
    const auto high = [](std::uint64_t x) { return static_cast<std::uint32_t>(x >> 32); };
    const auto block = static_cast<std::uint64_t>(first) / 2;
    const std::uint32_t purpose = static_cast<std::uint32_t>(stream_.purpose) << 16;
    kernel_({{low(block), high(block) | purpose, low(stream_.index), high(stream_.index)},
             {low(stream_.seed), high(stream_.seed)}},
            bits.data());
  }

 private:
  RandomStream stream_;
  void (*kernel_)(const kernels::PhiloxCall&, std::uint64_t* bits);
};

/// out[i] = convert(the 64 bits of element i).
template <class T, class Convert>
void fill(const RandomStream& stream, T* out, std::int64_t count, const Convert& convert) {
  const BitSource source(stream);
  parallel_for(count / kBitsAtOnce + 1, kGrain, [&](std::int64_t begin, std::int64_t end, int) {
    Bits bits;
    for (std::int64_t first = begin * kBitsAtOnce; first < std::min(count, end * kBitsAtOnce);
         first += kBitsAtOnce) {
      source.draw(first, bits);
      for (std::int64_t i = 0; i < std::min(kBitsAtOnce, count - first); ++i)
        out[first + i] = convert(bits[static_cast<std::size_t>(i)]);
    }
  });
}

void check_count(std::int64_t count) {
  if (count < 0) throw invalid("count must be at least 0; got ", count);
}

/// The largest T below `limit`.
template <class T>
T below(double limit) {
  const T nearest = static_cast<T>(limit);
  if (static_cast<double>(nearest) < limit) return nearest;
  return std::nextafter(nearest, -std::numeric_limits<T>::infinity());
}

/// (c0 + c1 x + ... + c7 x^7) / (d0 + d1 x + ... + d7 x^7), by Horner's rule.
struct Rational {
  double numerator[8], denominator[8];

  double operator()(double x) const {
    double over = numerator[7], under = denominator[7];
    for (int i = 6; i >= 0; --i) {
      over = over * x + numerator[i];
      under = under * x + denominator[i];
    }
    return over / under;
  }
};

// PPND16 of AS 241, in the order in which the paper names the coefficients (a, b), (c, d), (e, f).
constexpr Rational kCentral{
    {3.3871328727963666080e0, 1.3314166789178437745e+2, 1.9715909503065514427e+3, 1.3731693765509461125e+4,
     4.5921953931549871457e+4, 6.7265770927008700853e+4, 3.3430575583588128105e+4, 2.5090809287301226727e+3},
    {1.0, 4.2313330701600911252e+1, 6.8718700749205790830e+2, 5.3941960214247511077e+3,
     2.1213794301586595867e+4, 3.9307895800092710610e+4, 2.8729085735721942674e+4, 5.2264952788528545610e+3}};
constexpr Rational kMiddle{{1.42343711074968357734e0, 4.63033784615654529590e0, 5.76949722146069140550e0,
                            3.64784832476320460504e0, 1.27045825245236838258e0, 2.41780725177450611770e-1,
                            2.27238449892691845833e-2, 7.74545014278341407640e-4},
                           {1.0, 2.05319162663775882187e0, 1.67638483018380384940e0,
                            6.89767334985100004550e-1, 1.48103976427480074590e-1, 1.51986665636164571966e-2,
                            5.47593808499534494600e-4, 1.05075007164441684324e-9}};
constexpr Rational kTail{{6.65790464350110377720e0, 5.46378491116411436990e0, 1.78482653991729133580e0,
                          2.96560571828504891230e-1, 2.65321895265761230930e-2, 1.24266094738807843860e-3,
                          2.71155556874348757815e-5, 2.01033439929228813265e-7},
                         {1.0, 5.99832206555887937690e-1, 1.36929880922735805310e-1,
                          1.48753612908506148525e-2, 7.86869131145613259100e-4, 1.84631831751005468180e-5,
                          1.42151175831644588870e-7, 2.04426310338993978564e-15}};

using Log = void (*)(const double* in, double* out, std::int64_t count);

/// `log` is the kernels' own, because the C library's may round differently on each platform.
double quantile(double p, Log log) {
  if (!(p >= 0.0 && p <= 1.0)) return std::numeric_limits<double>::quiet_NaN();
  const double q = p - 0.5;
  if (q >= -0.425 && q <= 0.425) return q * kCentral(0.180625 - q * q);
  const double tail = q < 0.0 ? p : 1.0 - p;
  double magnitude = std::numeric_limits<double>::infinity();
  if (tail > 0.0) {
    double log_tail;
    log(&tail, &log_tail, 1);
    const double r = std::sqrt(-log_tail);
    magnitude = r <= 5.0 ? kMiddle(r - 1.6) : kTail(r - 5.0);
  }
  return q < 0.0 ? -magnitude : magnitude;
}

}  // namespace

std::array<std::uint32_t, 4> philox(std::array<std::uint32_t, 4> counter, std::array<std::uint32_t, 2> key) {
  constexpr std::uint64_t kMultiplier0 = 0xd2511f53, kMultiplier1 = 0xcd9e8d57;
  constexpr std::uint32_t kWeyl0 = 0x9e3779b9, kWeyl1 = 0xbb67ae85;
  for (int round = 0; round < 10; ++round) {
    const std::uint64_t product0 = kMultiplier0 * counter[0];
    const std::uint64_t product1 = kMultiplier1 * counter[2];
    counter = {static_cast<std::uint32_t>(product1 >> 32) ^ counter[1] ^ key[0],
               static_cast<std::uint32_t>(product1),
               static_cast<std::uint32_t>(product0 >> 32) ^ counter[3] ^ key[1],
               static_cast<std::uint32_t>(product0)};
    key[0] += kWeyl0;
    key[1] += kWeyl1;
  }
  return counter;
}

double normal_quantile(double probability) {
  const FloatingPointMode mode;
  return quantile(probability, kernels::active<double>().log);
}

template <class T>
void fill_uniform(RandomStream stream, double low, double high, T* out, std::int64_t count) {
  const double width = high - low;
  check_parameter("low", kAnyNumber, low);
  check_parameter("high", {.low = low, .has_low = false, .text = "a finite number greater than low"}, high);
  check_parameter("high - low", kAnyNumber, width);
  check_count(count);
  const FloatingPointMode mode;
  const T largest = below<T>(high);
  fill(stream, out, count, [=](std::uint64_t bits) {
    const double unit = static_cast<double>(bits >> 11) * 0x1p-53;
    const T value = static_cast<T>(low + width * unit);
    return value < largest ? value : largest;
  });
}

template <class T>
void fill_normal(RandomStream stream, double mean, double standard_deviation, T* out, std::int64_t count) {
  check_parameter("mean", kAnyNumber, mean);
  check_parameter("standard_deviation", kNotNegative, standard_deviation);
  check_count(count);
  const FloatingPointMode mode;
  const Log log = kernels::active<double>().log;
  fill(stream, out, count, [=](std::uint64_t bits) {
    // The midpoints of 2^52 cells: exact, never 0 or 1, and symmetric about 1/2.
    const double unit = (static_cast<double>(bits >> 12) + 0.5) * 0x1p-52;
    return static_cast<T>(mean + standard_deviation * quantile(unit, log));
  });
}

namespace {

/// A sequence of 64-bit random numbers, for an algorithm that cannot tell in advance how many it needs.
class BitSequence {
 public:
  explicit BitSequence(const RandomStream& stream) : source_(stream) {}

  std::uint64_t next() {
    const std::int64_t place = taken_ % kBitsAtOnce;
    if (place == 0) source_.draw(taken_, bits_);
    ++taken_;
    return bits_[static_cast<std::size_t>(place)];
  }

  /// Uniform in [0, bound): the high word of bound times bits. Draws again where the low word is below
  /// 2^64 mod bound, because those would favor some values (Lemire 2019).
  std::uint64_t next_below(std::uint64_t bound) {
    __extension__ typedef unsigned __int128 Wide;
    Wide product = static_cast<Wide>(next()) * bound;
    if (static_cast<std::uint64_t>(product) < bound) {
      const std::uint64_t excess = (0 - bound) % bound;
      while (static_cast<std::uint64_t>(product) < excess) product = static_cast<Wide>(next()) * bound;
    }
    return static_cast<std::uint64_t>(product >> 64);
  }

 private:
  BitSource source_;
  std::int64_t taken_ = 0;
  Bits bits_{};
};

}  // namespace

void shuffled_rows(std::uint64_t seed, std::uint64_t epoch, std::int64_t* rows, std::int64_t count) {
  check_count(count);
  constexpr std::int64_t kPiece = 1 << 18;  ///< rows between interrupt checks
  for (std::int64_t first = 0; first < count; first += kPiece) {
    if (first > 0) check_interrupt();
    std::iota(rows + first, rows + std::min(count, first + kPiece), first);
  }
  BitSequence bits({seed, RandomPurpose::shuffle, epoch});
  for (std::int64_t last = count - 1; last > 0;) {
    const std::int64_t first = std::max<std::int64_t>(1, last / kPiece * kPiece);
    for (std::int64_t i = last; i >= first; --i) {
      const auto other = static_cast<std::int64_t>(bits.next_below(static_cast<std::uint64_t>(i) + 1));
      std::swap(rows[i], rows[other]);
    }
    last = first - 1;
    check_interrupt();
  }
}

template void fill_uniform(RandomStream, double, double, float*, std::int64_t);
template void fill_uniform(RandomStream, double, double, double*, std::int64_t);
template void fill_normal(RandomStream, double, double, float*, std::int64_t);
template void fill_normal(RandomStream, double, double, double*, std::int64_t);

}  // namespace nncore
