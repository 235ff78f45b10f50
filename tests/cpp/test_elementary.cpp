// exp, log, tanh and sigmoid on every instruction set, compared with the C library in the next wider type.
// All float32 inputs would take the C library too long: there the float64 kernels, themselves compared with
// it, take its place, and the C library checks every 64th input.
//
// NNCORE_SWEEP_STRIDE=1 test_elementary float32_accuracy tests all 2^32 inputs, on as many threads as there
// are processors. With NNCORE_SWEEP_BASELINE=16 the slowest set, which needs many instructions for an fma,
// tests one block of inputs in 16. NNCORE_SWEEP_BLOCKS=2500 test_elementary float64_accuracy tests ten
// million inputs. tests/test_cpp.py runs both as slow tests; docs/math.md has the results.
#include <algorithm>
#include <bit>
#include <cfloat>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <random>
#include <thread>
#include <type_traits>

#include "check.hpp"
#include "kernels/table.hpp"
#include "nncore/runtime.hpp"

using namespace nncore;

namespace {

template <class T>
using Wide = std::conditional_t<sizeof(T) == 4, double, long double>;
template <class T>
using Bits = std::conditional_t<sizeof(T) == 4, std::uint32_t, std::uint64_t>;
template <class T>
using Kernel = void (*)(const kernels::Kernels<T>&, const T* in, T* out, std::int64_t count);

/// The bound that kernels/elementary.hpp promises.
constexpr double kAllowedUlps = 1;

template <class T>
struct Function {
  const char* name;
  Kernel<T> kernel;
  Wide<T> (*reference)(Wide<T>);
};

template <ActivationKind A, class T>
void activation(const kernels::Kernels<T>& k, const T* in, T* out, std::int64_t count) {
  static constexpr Activation kActivation = A;
  k.activation_forward[static_cast<int>(A)]({&kActivation, {in, count}, {out, count}, 1, count, {}});
}

template <class W>
W sigmoid(W x) {
  const W e = std::exp(-std::abs(x));
  return (x < 0 ? e : W(1)) / (1 + e);
}

enum { kExp, kLog, kTanh, kSigmoid };

template <class T>
const Function<T> kFunctions[] = {
    {"exp", [](auto& k, auto in, auto out, auto count) { k.exp(in, out, count); }, std::exp},
    {"log", [](auto& k, auto in, auto out, auto count) { k.log(in, out, count); }, std::log},
    {"tanh", activation<ActivationKind::tanh, T>, std::tanh},
    {"sigmoid", activation<ActivationKind::sigmoid, T>, sigmoid<Wide<T>>},
};

template <class T>
struct Set {
  std::string name;
  const kernels::Kernels<T>* kernels;
};

template <class T>
std::vector<Set<T>> supported_sets() {
  const std::string before = active_instruction_set();
  std::vector<Set<T>> sets;
  for (const std::string& name : supported_instruction_sets()) {
    use_instruction_set(name);
    sets.push_back({name, &kernels::active<T>()});
  }
  use_instruction_set(before);
  return sets;
}

/// NaN equals NaN; other numbers are compared by bits.
template <class T>
bool same(T a, T b) {
  return (a != a && b != b) || std::bit_cast<Bits<T>>(a) == std::bit_cast<Bits<T>>(b);
}

/// The distance of value from expected in units of T's last place at `expected`. Infinity counts as the first
/// power of two beyond the range, so that overflow is judged like any rounding.
template <class T>
double ulps(T value, Wide<T> expected) {
  using Limits = std::numeric_limits<T>;
  if (value != value || expected != expected) return value != value && expected != expected ? 0 : INFINITY;
  static const Wide<T> end = std::ldexp(Wide<T>(1), Limits::max_exponent);
  const Wide<T> bounded = std::clamp(expected, -end, end);
  const T rounded = std::abs(static_cast<T>(bounded));
  const bool away = rounded > std::abs(bounded);  // possibly to the next power of two
  const Bits<T> bits = std::bit_cast<Bits<T>>(rounded) - away;
  const T power = std::bit_cast<T>(bits & std::bit_cast<Bits<T>>(Limits::infinity()));
  const Wide<T> ulp = std::max(Wide<T>(power) * Limits::epsilon(), Wide<T>(Limits::denorm_min()));
  return static_cast<double>(std::abs(std::clamp(Wide<T>(value), -end, end) - bounded) / ulp);
}

/// The result of one function for many inputs.
template <class T>
struct Result {
  double worst = 0.5;  ///< any rounding may cost this much
  T worst_at = 0;
  std::int64_t differ = 0, inputs = 0;

  void add(const Result& other) {
    if (!(other.worst <= worst)) worst = other.worst, worst_at = other.worst_at;
    differ += other.differ;
    inputs += other.inputs;
  }
};

/// The float64 kernel of a float32 function, for a block of inputs.
void expect(const Function<float>& function, const std::vector<float>& in, std::vector<double>& expected) {
  static const kernels::Kernels<double>& kernels = *supported_sets<double>().back().kernels;
  const std::vector<double> wide(in.begin(), in.end());
  const Kernel<double> kernel = kFunctions<double>[&function - kFunctions<float>].kernel;
  kernel(kernels, wide.data(), expected.data(), static_cast<std::int64_t>(in.size()));
  for (std::size_t i = 0; i < in.size(); i += 64)
    CHECK(ulps<double>(expected[i], function.reference(wide[i])) <= 2 * kAllowedUlps);
}

void expect(const Function<double>& function, const std::vector<double>& in,
            std::vector<long double>& expected) {
  std::transform(in.begin(), in.end(), expected.begin(), function.reference);
}

std::uint64_t chosen(const char* variable, std::uint64_t otherwise) {
  const char* wanted = std::getenv(variable);
  return wanted ? std::strtoull(wanted, nullptr, 10) : otherwise;
}

/// Compares the best set with the reference, and the other sets with the best one.
template <class T>
class Sweep {
 public:
  Sweep(const Function<T>& function, const std::vector<Set<T>>& sets) : function_(function), sets_(sets) {}

  void add(const std::vector<T>& in) {
    const std::int64_t count = static_cast<std::int64_t>(in.size());
    best_.resize(in.size());
    other_.resize(in.size());
    expected_.resize(in.size());
    function_.kernel(*sets_.back().kernels, in.data(), best_.data(), count);
    expect(function_, in, expected_);
    for (std::size_t i = 0; i < in.size(); ++i) {
      if (best_[i] == static_cast<T>(expected_[i])) continue;
      const double error = ulps<T>(best_[i], expected_[i]);
      if (!(error <= result_.worst)) result_.worst = error, result_.worst_at = in[i];
    }
    const bool skips_baseline = blocks_++ % baseline_every_ != 0;
    for (std::size_t s = skips_baseline ? 1 : 0; s + 1 < sets_.size(); ++s) {
      function_.kernel(*sets_[s].kernels, in.data(), other_.data(), count);
      if (std::memcmp(best_.data(), other_.data(), in.size() * sizeof(T)) == 0) continue;
      for (std::size_t i = 0; i < in.size(); ++i) result_.differ += !same(best_[i], other_[i]);
    }
    result_.inputs += count;
  }

  const Result<T>& result() const { return result_; }

 private:
  const Function<T>& function_;
  const std::vector<Set<T>>& sets_;
  const std::uint64_t baseline_every_ = chosen("NNCORE_SWEEP_BASELINE", 1);
  std::uint64_t blocks_ = 0;
  std::vector<T> best_, other_;
  std::vector<Wide<T>> expected_;
  Result<T> result_;
};

template <class T>
void report(const Function<T>& function, const std::vector<Set<T>>& sets, const Result<T>& result) {
  std::string names;
  for (const Set<T>& set : sets) names += " " + set.name;
  std::printf("  %-7s float%zu: %.4f ULP at %a, %lld inputs, sets:%s\n", function.name, 8 * sizeof(T),
              result.worst, static_cast<double>(result.worst_at), static_cast<long long>(result.inputs),
              names.c_str());
  std::fflush(stdout);
  CHECK(result.worst <= kAllowedUlps);
  CHECK(result.differ == 0);
}

/// Where a function's result leaves the range, loses bits or saturates, or its algorithm changes course.
constexpr double kEdges[] = {
    0.0,    0.25,  0.5,      0.55,     0.6,       0.75,      1.0,     1.5,       2.0,     9.01,   10.0,
    17.33,  19.06, 20.0,     36.7,     44.0148,   44.3614,   86.64,   87.34,     88.7228, 89.0,   103.28,
    103.97, 104.0, 0.34657,  0.69315,  708.396,   709.0,     709.782, 709.78272, 710.0,   744.44, 745.13,
    745.14, 746.0, 0x1p-126, 0x1p-149, 0x1p-1022, 0x1p-1074, 0x1p23,  0x1p24,    0x1p52,  0x1p53, 0x1p127,
};

/// Each edge and its neighbors, with both signs.
template <class T>
std::vector<T> edges() {
  std::vector<T> result;
  for (const double edge : kEdges) {
    for (int step = -1000; step <= 1000; ++step) {
      const Bits<T> bits = std::bit_cast<Bits<T>>(static_cast<T>(edge)) + static_cast<Bits<T>>(step);
      result.push_back(std::bit_cast<T>(bits));
      result.push_back(-std::bit_cast<T>(bits));
    }
  }
  return result;
}

template <class T>
void check_special_values(const kernels::Kernels<T>& k) {
  constexpr T infinity = std::numeric_limits<T>::infinity(), nan = std::numeric_limits<T>::quiet_NaN();
  constexpr T tiny = std::numeric_limits<T>::denorm_min(), largest = std::numeric_limits<T>::max();
  constexpr T normal = std::numeric_limits<T>::min();
  const struct {
    int function;
    T in, out;
  } cases[] = {
      {kExp, nan, nan},
      {kExp, infinity, infinity},
      {kExp, largest, infinity},
      {kExp, -infinity, 0},
      {kExp, -largest, 0},
      {kExp, 0, 1},
      {kExp, T(-0.0), 1},
      {kExp, -tiny, 1},
      {kLog, nan, nan},
      {kLog, infinity, infinity},
      {kLog, 0, -infinity},
      {kLog, T(-0.0), -infinity},
      {kLog, -tiny, nan},
      {kLog, -1, nan},
      {kLog, -infinity, nan},
      {kLog, 1, 0},
      {kTanh, nan, nan},
      {kTanh, infinity, 1},
      {kTanh, largest, 1},
      {kTanh, -infinity, -1},
      {kTanh, 0, 0},
      {kTanh, T(-0.0), T(-0.0)},
      {kTanh, tiny, tiny},
      {kTanh, -tiny, -tiny},
      {kTanh, normal, normal},
      {kTanh, -normal, -normal},
      {kSigmoid, nan, nan},
      {kSigmoid, infinity, 1},
      {kSigmoid, largest, 1},
      {kSigmoid, -infinity, 0},
      {kSigmoid, -largest, 0},
      {kSigmoid, 0, T(0.5)},
      {kSigmoid, -tiny, T(0.5)},
  };
  for (const auto& [function, in, out] : cases) {
    T result = 7;
    kFunctions<T>[function].kernel(k, &in, &result, 1);
    CHECK(same(result, out));
    if (!same(result, out))
      std::printf("  %s(%a) is %a\n", kFunctions<T>[function].name, double(in), double(result));
  }
}

/// The result for an element depends on that element alone, not on how many there are or where it is, and
/// nothing beyond `count` is written.
template <class T>
void check_partial(const kernels::Kernels<T>& k, Kernel<T> kernel) {
  constexpr std::size_t most = 70;
  std::vector<T> in(most), whole(most);
  for (std::size_t i = 0; i < most; ++i) in[i] = T(0.37) * static_cast<T>(i) - T(9);
  for (std::size_t i = 0; i < most; ++i) kernel(k, &in[i], &whole[i], 1);
  for (std::size_t count = 0; count <= most; ++count) {
    std::vector<T> out = in;  // in place
    kernel(k, out.data(), out.data(), static_cast<std::int64_t>(count));
    for (std::size_t i = 0; i < most; ++i) CHECK(same(out[i], i < count ? whole[i] : in[i]));
  }
}

template <class T>
void check_all_sets() {
  for (const Set<T>& set : supported_sets<T>()) {
    check_special_values(*set.kernels);
    for (const Function<T>& function : kFunctions<T>) check_partial(*set.kernels, function.kernel);
  }
}

TEST(special_values_and_partial_vectors) {
  check_all_sets<float>();
  check_all_sets<double>();
}

/// Every stride-th bit pattern from `first` on.
Result<float> sweep_bits(const Function<float>& function, const std::vector<Set<float>>& sets,
                         std::uint64_t first, std::uint64_t stride) {
  Sweep<float> sweep(function, sets);
  std::vector<float> block;
  for (std::uint64_t bits = first; bits < (std::uint64_t{1} << 32); bits += stride) {
    block.push_back(std::bit_cast<float>(static_cast<std::uint32_t>(bits)));
    if (block.size() == 4096) sweep.add(block), block.clear();
  }
  sweep.add(block);
  return sweep.result();
}

TEST(float32_accuracy) {
  const std::uint64_t stride = chosen("NNCORE_SWEEP_STRIDE", 7919);  // odd, to reach all low bits
  const auto sets = supported_sets<float>();
  const auto thread_count = static_cast<std::uint64_t>(num_threads());
  for (const Function<float>& function : kFunctions<float>) {
    std::vector<Result<float>> results(thread_count);
    std::vector<std::thread> threads;
    for (std::uint64_t i = 0; i < thread_count; ++i)
      threads.emplace_back(
          [&, i] { results[i] = sweep_bits(function, sets, i * stride, thread_count * stride); });
    for (std::thread& thread : threads) thread.join();
    Sweep<float> special(function, sets);
    special.add(edges<float>());
    Result<float> all = special.result();
    for (const Result<float>& result : results) all.add(result);
    report(function, sets, all);
  }
}

#if LDBL_MANT_DIG > DBL_MANT_DIG
/// An input of one of ten kinds: all bit patterns, and the ranges where something happens.
double draw(std::mt19937_64& random, int kind) {
  const std::uint64_t bits = random();
  const double u = static_cast<double>(random() >> 11) * 0x1p-53;  // [0, 1)
  const double sign = bits & 1 ? 1 : -1;
  switch (kind) {
    case 0:
      return std::bit_cast<double>(bits);
    case 1:
      return std::ldexp(1 + u, static_cast<int>(bits % 2098) - 1074);  // positive, for log
    case 2:
      return sign * u;
    case 3:
      return sign * 4 * u;
    case 4:
      return sign * 40 * u;
    case 5:
      return sign * 750 * u;
    case 6:
      return -708 - 38 * u;  // subnormal exp and sigmoid
    case 7:
      return 1 + sign * std::ldexp(u, -static_cast<int>(bits / 2 % 50));  // near 1, for log
    case 8:
      return 0.5 + 1.5 * u;
    default:
      return sign * std::ldexp(1 + u, -static_cast<int>(bits / 2 % 60));  // near 0
  }
}

TEST(float64_accuracy) {
  const auto sets = supported_sets<double>();
  const std::uint64_t blocks = chosen("NNCORE_SWEEP_BLOCKS", 250);
  for (const Function<double>& function : kFunctions<double>) {
    Sweep<double> sweep(function, sets);
    sweep.add(edges<double>());
    std::mt19937_64 random(20240229);
    std::vector<double> block(4000);
    for (std::uint64_t done = 0; done < blocks; ++done) {
      for (std::size_t i = 0; i < block.size(); ++i) block[i] = draw(random, static_cast<int>(i % 10));
      sweep.add(block);
    }
    report(function, sets, sweep.result());
  }
}
#else
TEST(float64_accuracy_not_measured_long_double_is_double_here) {}
#endif

}  // namespace
