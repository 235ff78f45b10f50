// Counter-based random numbers: no hidden state, and the same numbers on every machine.
#pragma once

#include <array>
#include <cstdint>

namespace nncore {

/// Philox 4x32-10 (Salmon, Moraes, Dror, Shaw 2011): four random words from a counter and a key.
std::array<std::uint32_t, 4> philox(std::array<std::uint32_t, 4> counter, std::array<std::uint32_t, 2> key);

/// What random numbers are used for. It is part of their address, so different purposes never share numbers.
enum class RandomPurpose : std::uint32_t { initialise = 1, shuffle = 2, dropout = 3 };

/// The address of a stream: a seed, a purpose and an index (of a parameter segment, an epoch or a node).
/// Element i of a stream depends on the address and i only.
struct RandomStream {
  std::uint64_t seed = 0;
  RandomPurpose purpose = RandomPurpose::initialise;
  std::uint64_t index = 0;
};

/// The quantile function of the standard normal distribution (Wichura 1988, AS 241, in float64). Returns
/// infinities for 0 and 1 and NaN outside [0, 1]. The same bits on every machine.
double normal_quantile(double probability);

/// Fills `out` with uniform numbers in [low, high). Each uses 53 random bits, is scaled and shifted in
/// float64 and rounded to T, but stays below high. Throws std::invalid_argument unless low < high and low,
/// high and high - low are finite.
template <class T>
void fill_uniform(RandomStream stream, double low, double high, T* out, std::int64_t count);

/// Fills `out` with normal numbers: each is normal_quantile() of one uniform number of 52 bits, so any
/// element can be computed alone. Throws std::invalid_argument unless mean and standard_deviation are finite
/// and standard_deviation is at least 0.
template <class T>
void fill_normal(RandomStream stream, double mean, double standard_deviation, T* out, std::int64_t count);

/// Fills `rows` with a random permutation of 0 .. count - 1 (Fisher-Yates), a function of seed and epoch.
void shuffled_rows(std::uint64_t seed, std::uint64_t epoch, std::int64_t* rows, std::int64_t count);

}  // namespace nncore
