// Random numbers: known answers, distributions within computed bounds, and golden values. The bits are part
// of what a seed promises, so they change only by decision.
#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <map>
#include <numeric>
#include <set>
#include <stdexcept>
#include <vector>

#include "check.hpp"
#include "nncore/random.hpp"
#include "nncore/runtime.hpp"

using namespace nncore;

namespace {

using Words = std::array<std::uint32_t, 4>;

template <class T>
std::vector<T> uniform(RandomStream stream, double low, double high, std::int64_t count) {
  std::vector<T> out(static_cast<std::size_t>(count));
  fill_uniform(stream, low, high, out.data(), count);
  return out;
}

template <class T>
std::vector<T> normal(RandomStream stream, double mean, double deviation, std::int64_t count) {
  std::vector<T> out(static_cast<std::size_t>(count));
  fill_normal(stream, mean, deviation, out.data(), count);
  return out;
}

std::vector<std::int64_t> shuffled(std::uint64_t seed, std::uint64_t epoch, std::int64_t count) {
  std::vector<std::int64_t> rows(static_cast<std::size_t>(count));
  shuffled_rows(seed, epoch, rows.data(), count);
  return rows;
}

/// FNV-1a over the elements' words.
template <class T>
std::uint64_t hash_of(const std::vector<T>& x) {
  std::uint64_t hash = 0xcbf29ce484222325;
  for (const T v : x) hash = (hash ^ std::bit_cast<std::uint64_t>(v)) * 0x100000001b3;
  return hash;
}

double mean_of(const std::vector<double>& x) {
  return std::accumulate(x.begin(), x.end(), 0.0) / static_cast<double>(x.size());
}

/// The mean of (x - mean)^2.
double variance_of(const std::vector<double>& x, double mean) {
  double sum = 0.0;
  for (const double v : x) sum += (v - mean) * (v - mean);
  return sum / static_cast<double>(x.size());
}

/// The largest distance between the empirical and the true distribution function.
template <class Distribution>
double kolmogorov_distance(std::vector<double> x, const Distribution& distribution) {
  std::sort(x.begin(), x.end());
  const double n = static_cast<double>(x.size());
  double distance = 0.0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    const double p = distribution(x[i]), k = static_cast<double>(i);
    distance = std::max({distance, p - k / n, (k + 1) / n - p});
  }
  return distance;
}

/// The distance exceeds this with probability 1e-6 at most (Dvoretzky, Kiefer, Wolfowitz; Massart).
double kolmogorov_bound(std::size_t n) {
  return std::sqrt(std::log(2.0 / 1e-6) / (2.0 * static_cast<double>(n)));
}

/// Five standard deviations of a mean, exceeded with probability 6e-7.
double mean_bound(double variance, std::size_t n) {
  return 5.0 * std::sqrt(variance / static_cast<double>(n));
}

double normal_distribution(double x) { return 0.5 * std::erfc(-x / std::sqrt(2.0)); }
double normal_density(double x) { return std::exp(-0.5 * x * x) / std::sqrt(2.0 * std::acos(-1.0)); }

constexpr RandomStream kStream{0x0123456789abcdef, RandomPurpose::initialise, 7};

}  // namespace

TEST(philox_known_answers) {  // from the Random123 distribution
  CHECK((philox({0, 0, 0, 0}, {0, 0}) == Words{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  constexpr std::uint32_t ones = 0xffffffff;
  CHECK((philox({ones, ones, ones, ones}, {ones, ones}) ==
         Words{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  CHECK((philox({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}) ==
         Words{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

TEST(elements_are_made_of_their_own_words) {
  const auto x = uniform<double>(kStream, 0.0, 1.0, 101);
  for (std::uint32_t i = 0; i < 101; ++i) {
    const Words words = philox({i / 2, 1u << 16, 7, 0}, {0x89abcdef, 0x01234567});
    const std::uint64_t bits = words[i % 2 * 2] | static_cast<std::uint64_t>(words[i % 2 * 2 + 1]) << 32;
    CHECK(x[i] == std::ldexp(static_cast<double>(bits >> 11), -53));
  }
}

TEST(element_depends_on_neither_count_nor_threads) {
  constexpr std::int64_t kCount = 40001;
  const int before = num_threads();
  set_num_threads(1);
  const auto one = normal<float>(kStream, 0.0, 1.0, kCount);
  set_num_threads(3);
  CHECK(normal<float>(kStream, 0.0, 1.0, kCount) == one);
  set_num_threads(before);
  for (const std::int64_t count : {0, 1, 2, 3, 100, 8193}) {
    const auto few = normal<float>(kStream, 0.0, 1.0, count);
    CHECK(std::equal(few.begin(), few.end(), one.begin()));
  }
}

TEST(nothing_is_written_behind_the_end) {
  for (const std::int64_t count : {0, 1, 2, 3, 4}) {
    std::vector<double> out(static_cast<std::size_t>(count) + 2, -7.0);
    fill_uniform(kStream, 0.0, 1.0, out.data(), count);
    CHECK(out[static_cast<std::size_t>(count)] == -7.0 && out[static_cast<std::size_t>(count) + 1] == -7.0);
  }
}

TEST(streams_differ) {
  std::set<std::vector<double>> seen;
  int streams = 0;
  for (const std::uint64_t seed : {0ull, 1ull, 1ull << 32, ~0ull})
    for (const auto purpose : {RandomPurpose::initialise, RandomPurpose::shuffle, RandomPurpose::dropout})
      for (const std::uint64_t index : {0ull, 1ull, 1ull << 32, ~0ull}) {
        seen.insert(uniform<double>({seed, purpose, index}, 0.0, 1.0, 8));
        ++streams;
      }
  CHECK(seen.size() == static_cast<std::size_t>(streams));
}

TEST(uniform_distribution) {
  const auto x = uniform<double>(kStream, -2.0, 3.0, 200000);
  CHECK(*std::min_element(x.begin(), x.end()) >= -2.0);
  CHECK(*std::max_element(x.begin(), x.end()) < 3.0);
  const double variance = 25.0 / 12.0;
  const double fourth = 625.0 / 80.0;  // E (x - mean)^4
  CHECK(std::abs(mean_of(x) - 0.5) < mean_bound(variance, x.size()));
  CHECK(std::abs(variance_of(x, 0.5) - variance) < mean_bound(fourth - variance * variance, x.size()));
  CHECK(kolmogorov_distance(x, [](double v) { return (v + 2.0) / 5.0; }) < kolmogorov_bound(x.size()));
}

TEST(uniform_stays_below_high) {
  // Rounded to float32, half of the numbers within these ranges would reach high.
  for (const double low : {1.0, -1.0, 1000.0}) {
    const double high = low + std::ldexp(std::abs(low), -23);
    for (const float v : uniform<float>(kStream, low, high, 1000)) {
      CHECK(v >= static_cast<float>(low));
      CHECK(static_cast<double>(v) < high);
    }
  }
  const double high = 1.0 + 1e-12;  // not a float32: 1 is below it
  const auto x = uniform<float>(kStream, 0.5, high, 1000);
  CHECK(*std::max_element(x.begin(), x.end()) <= 1.0f);
}

TEST(normal_distribution_of_numbers) {
  const double mean = 1.5, deviation = 2.0;
  const auto x = normal<double>({42, RandomPurpose::initialise, 0}, mean, deviation, 200000);
  const double variance = deviation * deviation;
  CHECK(std::abs(mean_of(x) - mean) < mean_bound(variance, x.size()));
  CHECK(std::abs(variance_of(x, mean) - variance) < mean_bound(2.0 * variance * variance, x.size()));
  CHECK(kolmogorov_distance(x, [&](double v) { return normal_distribution((v - mean) / deviation); }) <
        kolmogorov_bound(x.size()));
}

TEST(normal_quantile_inverts_the_distribution_function) {
  // AS 241 claims a relative error of 1e-16, in addition to that of its arithmetic, some 16 rounded
  // operations. An error of x changes the probability by its density times that error, and erfc adds a few
  // roundings.
  const double epsilon = std::numeric_limits<double>::epsilon();
  for (double p = 0x1p-1000; p < 0.5; p *= 1.01) {
    const double x = normal_quantile(p);
    const double bound = 16 * epsilon * (std::abs(x) * normal_density(x) + p * (1.0 + x * x / 2.0));
    if (!(std::abs(normal_distribution(x) - p) <= bound)) {
      std::printf("p = %.17g, x = %.17g\n", p, x);
      CHECK(false);
    }
  }
  // Above one half, 1 - p is exact.
  for (const double p : {0.0625, 0.03125, 0x1p-20, 0x1p-40, 0x1p-53})
    CHECK(normal_quantile(1.0 - p) == -normal_quantile(p));
}

TEST(normal_quantile_edges) {
  const double infinity = std::numeric_limits<double>::infinity();
  CHECK(normal_quantile(0.5) == 0.0);
  CHECK(normal_quantile(0.0) == -infinity && normal_quantile(1.0) == infinity);
  for (const double outside : {-0x1p-1074, 1.0 + 0x1p-52, infinity, std::nan("")})
    CHECK(std::isnan(normal_quantile(outside)));
}

TEST(normal_numbers_have_the_same_bits_on_every_set) {
  const std::string before = active_instruction_set();
  std::vector<double> first;
  for (const std::string& name : supported_instruction_sets()) {
    use_instruction_set(name);
    const auto x = normal<double>(kStream, 0.0, 1.0, 5000);
    if (first.empty()) first = x;
    CHECK(x == first);
  }
  use_instruction_set(before);
}

TEST(shuffled_is_a_permutation) {
  for (const std::int64_t count : {0, 1, 2, 3, 17, 1000, 65537}) {
    auto rows = shuffled(3, 1, count);
    std::sort(rows.begin(), rows.end());
    for (std::int64_t i = 0; i < count; ++i) CHECK(rows[static_cast<std::size_t>(i)] == i);
  }
}

TEST(shuffled_is_a_function_of_seed_and_epoch) {
  CHECK(shuffled(3, 1, 100) == shuffled(3, 1, 100));
  CHECK(shuffled(3, 1, 100) != shuffled(3, 2, 100));
  CHECK(shuffled(3, 1, 100) != shuffled(4, 1, 100));
}

TEST(permutations_of_three_are_equally_likely) {
  constexpr int kTrials = 60000;
  std::map<std::vector<std::int64_t>, int> seen;
  for (std::uint64_t epoch = 0; epoch < kTrials; ++epoch) ++seen[shuffled(11, epoch, 3)];
  CHECK(seen.size() == 6);
  const double p = 1.0 / 6.0;
  for (const auto& [rows, times] : seen)
    CHECK(std::abs(static_cast<double>(times) / kTrials - p) < mean_bound(p * (1 - p), kTrials));
}

TEST(every_row_goes_everywhere_equally) {
  constexpr int kTrials = 20000, kRows = 10;
  std::vector<int> seen(kRows * kRows);
  for (std::uint64_t epoch = 0; epoch < kTrials; ++epoch) {
    const auto rows = shuffled(5, epoch, kRows);
    for (std::size_t i = 0; i < kRows; ++i) ++seen[i * kRows + static_cast<std::size_t>(rows[i])];
  }
  const double p = 1.0 / kRows;
  for (const int times : seen)
    CHECK(std::abs(static_cast<double>(times) / kTrials - p) < mean_bound(p * (1 - p), kTrials));
}

TEST(golden_values) {
  CHECK((uniform<double>(kStream, -1.0, 1.0, 4) ==
         std::vector<double>{0x1.0f7a002933b9ap-1, -0x1.b1c510a087738p-1, 0x1.45019daebc602p-1,
                             0x1.fc237ceb0d23p-4}));
  CHECK((normal<double>(kStream, 0.0, 1.0, 4) ==
         std::vector<double>{0x1.721955610c0a1p-1, -0x1.6e030b835e142p+0, 0x1.cf9860b1fde43p-1,
                             0x1.3fb8fe1d8cf34p-3}));
  CHECK((normal<float>(kStream, 0.0, 1.0, 4) ==
         std::vector<float>{0x1.721956p-1f, -0x1.6e030cp+0f, 0x1.cf986p-1f, 0x1.3fb8fep-3f}));
  CHECK(hash_of(normal<double>(kStream, 0.0, 1.0, 10000)) == 0x629bb7f030f7755d);
  CHECK((shuffled(42, 3, 12) == std::vector<std::int64_t>{2, 9, 4, 1, 5, 10, 6, 3, 11, 0, 7, 8}));
  CHECK(hash_of(shuffled(42, 3, 10000)) == 0xfa8ff81d958a205f);
}

TEST(bad_arguments) {
  double out[2] = {-7.0, -7.0};
  const double nan = std::nan(""), infinity = std::numeric_limits<double>::infinity(), huge = 1e308;
  CHECK_THROWS(fill_uniform(kStream, nan, 1.0, out, 2), std::invalid_argument,
               "low must be a finite number; got nan");
  CHECK_THROWS(fill_uniform(kStream, 0.0, infinity, out, 2), std::invalid_argument,
               "high must be a finite number greater than low; got inf");
  CHECK_THROWS(fill_uniform(kStream, 1.0, 1.0, out, 2), std::invalid_argument, "greater than low; got 1");
  CHECK_THROWS(fill_uniform(kStream, -huge, huge, out, 2), std::invalid_argument,
               "high - low must be a finite number");
  CHECK_THROWS(fill_normal(kStream, nan, 1.0, out, 2), std::invalid_argument,
               "mean must be a finite number; got nan");
  CHECK_THROWS(fill_normal(kStream, 0.0, -0.5, out, 2), std::invalid_argument,
               "standard_deviation must be a finite number of at least 0; got -0.5");
  CHECK_THROWS(fill_uniform(kStream, 0.0, 1.0, out, -1), std::invalid_argument,
               "count must be at least 0; got -1");
  CHECK_THROWS(fill_normal(kStream, 0.0, 1.0, out, -1), std::invalid_argument,
               "count must be at least 0; got -1");
  CHECK_THROWS(shuffled_rows(0, 0, nullptr, -1), std::invalid_argument, "count must be at least 0; got -1");
  CHECK(out[0] == -7.0 && out[1] == -7.0);
}
