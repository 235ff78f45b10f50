// Philox 4x32-10 (Salmon, Moraes, Dror, Shaw 2011), a block in each lane.
#pragma once

#include "table.hpp"
#include "vec.hpp"

namespace {

typedef Vec<uint32_t> Words;

/// The 64-bit products of the even lanes with m.
NNCORE_INLINE Vec<uint64_t> multiply_even(Words a, uint32_t m) {
#if NNCORE_VECTOR_BYTES == 64
  return bit_cast<Vec<uint64_t>>(
      _mm512_maskz_mul_epu32(0xff, bit_cast<__m512i>(a), _mm512_set1_epi32(static_cast<int>(m))));
#elif NNCORE_VECTOR_BYTES == 32
  return bit_cast<Vec<uint64_t>>(
      _mm256_mul_epu32(bit_cast<__m256i>(a), _mm256_set1_epi32(static_cast<int>(m))));
#elif defined(__x86_64__)
  return bit_cast<Vec<uint64_t>>(_mm_mul_epu32(bit_cast<__m128i>(a), _mm_set1_epi32(static_cast<int>(m))));
#else
  return (bit_cast<Vec<uint64_t>>(a) & 0xffffffffu) * uint64_t{m};
#endif
}

/// The high and low halves of the products of all lanes with m.
struct Halves {
  Words high, low;
};
NNCORE_INLINE Halves multiply_words(Words a, uint32_t m) {
  const Vec<uint64_t> even = multiply_even(a, m);
  const Vec<uint64_t> odd = multiply_even(bit_cast<Words>(bit_cast<Vec<uint64_t>>(a) >> 32), m);
  return {bit_cast<Words>((even >> 32) | (odd & ~uint64_t{0xffffffffu})),
          bit_cast<Words>((even & 0xffffffffu) | (odd << 32))};
}

/// Replaces the counters x[0] to x[3] of the blocks with their random words.
NNCORE_INLINE void philox_rounds(Words (&x)[4], const uint32_t (&keys)[2]) {
  uint32_t key0 = keys[0], key1 = keys[1];
  for (int round = 0; round < 10; ++round, key0 += 0x9E3779B9u, key1 += 0xBB67AE85u) {
    const Halves a = multiply_words(x[0], 0xD2511F53u), b = multiply_words(x[2], 0xCD9E8D57u);
    x[0] = b.high ^ x[1] ^ key0;
    x[1] = b.low;
    x[2] = a.high ^ x[3] ^ key1;
    x[3] = a.low;
  }
}

inline void philox_bits(const nncore::kernels::PhiloxCall& call, uint64_t* bits) {
  constexpr int blocks = nncore::kernels::kPhiloxBlocks, lanes = kLanes<uint32_t>;
  uint32_t words[4][blocks];
  for (int first = 0; first < blocks; first += lanes) {
    Words x[4] = {
        Words{} + (call.counter[0] + static_cast<uint32_t>(first)) + bit_cast<Words>(lane_numbers<float>()),
        Words{} + call.counter[1], Words{} + call.counter[2], Words{} + call.counter[3]};
    philox_rounds(x, call.key);
    for (int word = 0; word < 4; ++word) store(words[word] + first, x[word]);
  }
  for (int i = 0; i < blocks; ++i) {
    bits[2 * i] = words[0][i] | uint64_t{words[1][i]} << 32;
    bits[2 * i + 1] = words[2][i] | uint64_t{words[3][i]} << 32;
  }
}

}  // namespace
