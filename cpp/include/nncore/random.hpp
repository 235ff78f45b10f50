// Counter-based random numbers: no hidden state, the same numbers on every machine.
#pragma once

#include <array>
#include <cstdint>

namespace nncore {

/// Philox 4x32-10 (Salmon, Moraes, Dror, Shaw 2011): four random words for a counter under a key.
std::array<std::uint32_t, 4> philox(std::array<std::uint32_t, 4> counter, std::array<std::uint32_t, 2> key);

/// What random numbers are for; part of their address, so that purposes never share numbers.
enum class RandomPurpose : std::uint32_t { initialise = 1, shuffle = 2, dropout = 3 };

/// The address of a stream: a seed, a purpose and an index within it (a parameter segment, an
/// epoch, a node). Element i of a stream depends on nothing else.
struct RandomStream {
  std::uint64_t seed = 0;
  RandomPurpose purpose = RandomPurpose::initialise;
  std::uint64_t index = 0;
};

/// The x that a standard normal variable stays below with this probability (Wichura 1988, AS 241,
/// float64): infinite for 0 and 1, NaN outside them. The same bits on every machine.
double normal_quantile(double probability);

/// out[i] uniform in [low, high): 53 random bits each, scaled and shifted in float64, rounded to T
/// (and kept below high). Throws std::invalid_argument unless low < high, both finite and high - low too.
template <class T>
void fill_uniform(RandomStream stream, double low, double high, T* out, std::int64_t count);

/// out[i] normal: normal_quantile of one uniform number each (52 bits), so any element can be had alone.
/// Throws std::invalid_argument for numbers that are not finite or a negative standard_deviation.
template <class T>
void fill_normal(RandomStream stream, double mean, double standard_deviation, T* out, std::int64_t count);

/// rows = a random permutation of 0 .. count-1 (Fisher-Yates; index numbers the epoch).
void shuffled_rows(std::uint64_t seed, std::uint64_t epoch, std::int64_t* rows, std::int64_t count);

}  // namespace nncore
