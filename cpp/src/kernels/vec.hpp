// Vectors of the instruction set that this translation unit is compiled for, on GCC/Clang vector extensions.
// Arithmetic, comparison and blend (mask ? a : b) are the language's own operators; this file adds the rest.
// NNCORE_VECTOR_BYTES is the register size: 16, 32 or 64.
//
// Everything is in an anonymous namespace and nothing comes from the standard library. Otherwise a linker
// that merges inline functions could pick a copy that was compiled for a newer processor.
#pragma once

#include <stdint.h>

#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

namespace {

template <class T, int N>
struct VectorType {
  typedef T type __attribute__((vector_size(N * sizeof(T))));
};

template <class T>
inline constexpr int kLanes = NNCORE_VECTOR_BYTES / static_cast<int>(sizeof(T));

/// A register of T, and the integers of the same size (also the result of a comparison: 0 or -1).
template <class T>
using Vec = typename VectorType<T, kLanes<T>>::type;

template <class T>
struct IntOf;
template <>
struct IntOf<float> {
  typedef int32_t type;
};
template <>
struct IntOf<double> {
  typedef int64_t type;
};
template <class T>
using Int = typename IntOf<T>::type;
template <class T>
using IntVec = Vec<Int<T>>;

#define NNCORE_INLINE inline __attribute__((always_inline))

template <class To, class From>
NNCORE_INLINE To bit_cast(From from) {
  static_assert(sizeof(To) == sizeof(From));
  To to;
  __builtin_memcpy(&to, &from, sizeof to);
  return to;
}

}  // namespace

#if NNCORE_VECTOR_BYTES == 16 && !defined(NNCORE_KERNELS_NEON)
#include "software_fma.hpp"
#endif

namespace {

template <class T>
NNCORE_INLINE Vec<T> broadcast(T x) {
  return x - Vec<T>{};  // x - 0 keeps every value, including -0 and NaN
}

template <class T>
NNCORE_INLINE IntVec<T> broadcast_int(Int<T> x) {
  return x + IntVec<T>{};
}

/// *p in all lanes. On x86 the value goes through a general register, so that its load does not compete with
/// vector loads.
template <class T>
NNCORE_INLINE Vec<T> load_broadcast(const T* p) {
#if NNCORE_VECTOR_BYTES >= 32
  Int<T> bits;
  __builtin_memcpy(&bits, p, sizeof bits);
  __asm__("" : "+r"(bits));
  return bit_cast<Vec<T>>(broadcast_int<T>(bits));
#else
  return broadcast<T>(*p);
#endif
}

template <class T>
NNCORE_INLINE Vec<T> load(const T* p) {
  Vec<T> v;
  __builtin_memcpy(&v, p, sizeof v);
  return v;
}

template <class T>
NNCORE_INLINE void store(T* p, Vec<T> v) {
  __builtin_memcpy(p, &v, sizeof v);
}

/// 0, 1, 2, ...
template <class T>
NNCORE_INLINE IntVec<T> lane_numbers() {
  IntVec<T> v;
  for (int i = 0; i < kLanes<T>; ++i) v[i] = i;
  return v;
}

#if NNCORE_VECTOR_BYTES == 64
NNCORE_INLINE __m512 as_register(Vec<float> v) { return bit_cast<__m512>(v); }
NNCORE_INLINE __m512d as_register(Vec<double> v) { return bit_cast<__m512d>(v); }

/// The first n elements (0 <= n <= lanes), and zeros in the other lanes; touches no memory beyond.
NNCORE_INLINE Vec<float> load_first(const float* p, int n) {
  return _mm512_maskz_loadu_ps(static_cast<__mmask16>((1u << n) - 1), p);
}
NNCORE_INLINE Vec<double> load_first(const double* p, int n) {
  return _mm512_maskz_loadu_pd(static_cast<__mmask8>((1u << n) - 1), p);
}
NNCORE_INLINE void store_first(float* p, Vec<float> v, int n) {
  _mm512_mask_storeu_ps(p, static_cast<__mmask16>((1u << n) - 1), v);
}
NNCORE_INLINE void store_first(double* p, Vec<double> v, int n) {
  _mm512_mask_storeu_pd(p, static_cast<__mmask8>((1u << n) - 1), v);
}
/// a b + c, rounded once.
NNCORE_INLINE Vec<float> fma(Vec<float> a, Vec<float> b, Vec<float> c) { return _mm512_fmadd_ps(a, b, c); }
NNCORE_INLINE Vec<double> fma(Vec<double> a, Vec<double> b, Vec<double> c) {
  return _mm512_fmadd_pd(a, b, c);
}
// The maskz forms with all lanes set equal the plain ones, for which GCC 12 warns inside its own header.
NNCORE_INLINE Vec<float> sqrt(Vec<float> v) { return _mm512_maskz_sqrt_ps(0xffff, v); }
NNCORE_INLINE Vec<double> sqrt(Vec<double> v) { return _mm512_maskz_sqrt_pd(0xff, v); }
/// An intrinsic, because GCC compiles a < b ? a : b to a comparison and a blend.
NNCORE_INLINE Vec<float> min(Vec<float> a, Vec<float> b) { return _mm512_maskz_min_ps(0xffff, a, b); }
NNCORE_INLINE Vec<double> min(Vec<double> a, Vec<double> b) { return _mm512_maskz_min_pd(0xff, a, b); }
NNCORE_INLINE Vec<float> max(Vec<float> a, Vec<float> b) { return _mm512_maskz_max_ps(0xffff, a, b); }
NNCORE_INLINE Vec<double> max(Vec<double> a, Vec<double> b) { return _mm512_maskz_max_pd(0xff, a, b); }
/// As float64: half a register of float32 fills one. (GCC alone would use two conversions and an insertion.)
NNCORE_INLINE Vec<double> widen(VectorType<float, 8>::type half) { return _mm512_maskz_cvtps_pd(0xff, half); }
/// v 2^n for integral n, rounded once.
NNCORE_INLINE Vec<float> scale_by_power(Vec<float> v, Vec<float> n) {
  return _mm512_maskz_scalef_ps(0xffff, v, n);
}
NNCORE_INLINE Vec<double> scale_by_power(Vec<double> v, Vec<double> n) {
  return _mm512_maskz_scalef_pd(0xff, v, n);
}
/// Lane i is element index[i] mod 32 of low followed by high.
NNCORE_INLINE Vec<float> permute(Vec<float> low, Vec<float> high, Vec<uint32_t> index) {
  return _mm512_permutex2var_ps(low, bit_cast<__m512i>(index), high);
}

#elif NNCORE_VECTOR_BYTES == 32
NNCORE_INLINE Vec<float> load_first(const float* p, int n) {
  return _mm256_maskload_ps(p, bit_cast<__m256i>(lane_numbers<float>() < n));
}
NNCORE_INLINE Vec<double> load_first(const double* p, int n) {
  return _mm256_maskload_pd(p, bit_cast<__m256i>(lane_numbers<double>() < n));
}
NNCORE_INLINE void store_first(float* p, Vec<float> v, int n) {
  _mm256_maskstore_ps(p, bit_cast<__m256i>(lane_numbers<float>() < n), v);
}
NNCORE_INLINE void store_first(double* p, Vec<double> v, int n) {
  _mm256_maskstore_pd(p, bit_cast<__m256i>(lane_numbers<double>() < n), v);
}
NNCORE_INLINE Vec<float> fma(Vec<float> a, Vec<float> b, Vec<float> c) { return _mm256_fmadd_ps(a, b, c); }
NNCORE_INLINE Vec<double> fma(Vec<double> a, Vec<double> b, Vec<double> c) {
  return _mm256_fmadd_pd(a, b, c);
}
NNCORE_INLINE Vec<float> sqrt(Vec<float> v) { return _mm256_sqrt_ps(v); }
NNCORE_INLINE Vec<double> sqrt(Vec<double> v) { return _mm256_sqrt_pd(v); }
NNCORE_INLINE Vec<double> widen(VectorType<float, 4>::type half) { return _mm256_cvtps_pd(half); }
NNCORE_INLINE Vec<float> min(Vec<float> a, Vec<float> b) { return _mm256_min_ps(a, b); }
NNCORE_INLINE Vec<double> min(Vec<double> a, Vec<double> b) { return _mm256_min_pd(a, b); }
NNCORE_INLINE Vec<float> max(Vec<float> a, Vec<float> b) { return _mm256_max_ps(a, b); }
NNCORE_INLINE Vec<double> max(Vec<double> a, Vec<double> b) { return _mm256_max_pd(a, b); }

#else  // 16 bytes: plain x86-64, or arm64
NNCORE_INLINE Vec<double> widen(VectorType<float, 2>::type half) {
  return __builtin_convertvector(half, Vec<double>);
}
template <class T>
NNCORE_INLINE Vec<T> load_first(const T* p, int n) {
  Vec<T> v{};
  for (int i = 0; i < n; ++i) v[i] = p[i];
  return v;
}
template <class T>
NNCORE_INLINE void store_first(T* p, Vec<T> v, int n) {
  for (int i = 0; i < n; ++i) p[i] = v[i];
}
#if defined(NNCORE_KERNELS_NEON)
NNCORE_INLINE Vec<float> fma(Vec<float> a, Vec<float> b, Vec<float> c) {
  return bit_cast<Vec<float>>(
      vfmaq_f32(bit_cast<float32x4_t>(c), bit_cast<float32x4_t>(a), bit_cast<float32x4_t>(b)));
}
NNCORE_INLINE Vec<double> fma(Vec<double> a, Vec<double> b, Vec<double> c) {
  return bit_cast<Vec<double>>(
      vfmaq_f64(bit_cast<float64x2_t>(c), bit_cast<float64x2_t>(a), bit_cast<float64x2_t>(b)));
}
#else
// Uses whole vectors throughout: with elements taken one by one, GCC 12 at -O3 (its SLP vectorizer) got the
// last bit of a chain wrong.
NNCORE_INLINE Vec<float> fma(Vec<float> a, Vec<float> b, Vec<float> c) {
  const auto low = software_fma(__builtin_shufflevector(a, a, 0, 1), __builtin_shufflevector(b, b, 0, 1),
                                __builtin_shufflevector(c, c, 0, 1));
  const auto high = software_fma(__builtin_shufflevector(a, a, 2, 3), __builtin_shufflevector(b, b, 2, 3),
                                 __builtin_shufflevector(c, c, 2, 3));
  return __builtin_shufflevector(low, high, 0, 1, 2, 3);
}
NNCORE_INLINE Vec<double> fma(Vec<double> a, Vec<double> b, Vec<double> c) { return software_fma(a, b, c); }
#endif
#if defined(__x86_64__)
NNCORE_INLINE Vec<float> sqrt(Vec<float> v) { return _mm_sqrt_ps(v); }
NNCORE_INLINE Vec<double> sqrt(Vec<double> v) { return _mm_sqrt_pd(v); }
#elif defined(__aarch64__)
NNCORE_INLINE Vec<float> sqrt(Vec<float> v) {
  return bit_cast<Vec<float>>(vsqrtq_f32(bit_cast<float32x4_t>(v)));
}
NNCORE_INLINE Vec<double> sqrt(Vec<double> v) {
  return bit_cast<Vec<double>>(vsqrtq_f64(bit_cast<float64x2_t>(v)));
}
#else
template <class V>
NNCORE_INLINE V sqrt(V v) {
  for (unsigned i = 0; i < sizeof(V) / sizeof(v[0]); ++i) v[i] = __builtin_sqrt(v[i]);
  return v;
}
#endif
#endif

// nonzero_lanes: bit i is set if lane i is not zero. A NaN is not zero.
#if NNCORE_VECTOR_BYTES == 64
/// Widens the mask in a general register: GCC 12 would store 16 bits to memory and read back 64.
template <class Mask>
NNCORE_INLINE uint64_t widen_mask(Mask mask) {
  asm("" : "+r"(mask));
  return mask;
}
NNCORE_INLINE uint64_t nonzero_lanes(Vec<float> v) {
  return widen_mask(_mm512_cmp_ps_mask(v, Vec<float>{}, _CMP_NEQ_UQ));
}
NNCORE_INLINE uint64_t nonzero_lanes(Vec<double> v) {
  return widen_mask(_mm512_cmp_pd_mask(v, Vec<double>{}, _CMP_NEQ_UQ));
}
#elif NNCORE_VECTOR_BYTES == 32
NNCORE_INLINE uint64_t nonzero_lanes(Vec<float> v) {
  return static_cast<uint32_t>(_mm256_movemask_ps(bit_cast<__m256>(v != 0)));
}
NNCORE_INLINE uint64_t nonzero_lanes(Vec<double> v) {
  return static_cast<uint32_t>(_mm256_movemask_pd(bit_cast<__m256d>(v != 0)));
}
#elif defined(__x86_64__)
NNCORE_INLINE uint64_t nonzero_lanes(Vec<float> v) {
  return static_cast<uint32_t>(_mm_movemask_ps(bit_cast<__m128>(v != 0)));
}
NNCORE_INLINE uint64_t nonzero_lanes(Vec<double> v) {
  return static_cast<uint32_t>(_mm_movemask_pd(bit_cast<__m128d>(v != 0)));
}
#else
template <class V>
NNCORE_INLINE uint64_t nonzero_lanes(V v) {
  uint64_t bits = 0;
  for (unsigned i = 0; i < sizeof(V) / sizeof(v[0]); ++i) bits |= uint64_t{v[i] != 0} << i;
  return bits;
}
#endif

/// A NaN in the second operand gives NaN; a NaN in the first is dropped. Callers order them accordingly.
template <class V>
NNCORE_INLINE V max(V a, V b) {
  return a > b ? a : b;
}
template <class V>
NNCORE_INLINE V min(V a, V b) {
  return a < b ? a : b;
}

/// How many rows ahead to prefetch a matrix whose rows lie far apart: hardware prefetching stops at the end
/// of a page, which is often the start of the next row. Harmless past the end of the matrix.
inline constexpr int64_t kPrefetchDistance = 12;

template <class T>
NNCORE_INLINE void prefetch_row(const T* row, int64_t columns) {
  constexpr int64_t line = 64 / static_cast<int64_t>(sizeof(T));
  for (int64_t j = 0; j < columns; j += line) __builtin_prefetch(row + j);
}

/// The number of elements in 16 bytes.
template <class T>
inline constexpr int kPart = 16 / static_cast<int>(sizeof(T));
template <class T>
using Part = typename VectorType<T, kPart<T>>::type;

/// Calls body(load, store) for each register of [0, count), of which the last may be partial: load(p) reads
/// and store(p, v) writes the elements of p that belong to the register. The first `head` elements, fewer
/// than a register holds, are a part of their own.
template <class T, class Body>
NNCORE_INLINE void for_each_vector(int64_t count, Body body, int64_t head = 0) {
  constexpr int lanes = kLanes<T>;
  int64_t i = head;
  if (head > 0) {
    const int first = static_cast<int>(head);
    body([first](const T* p) __attribute__((always_inline)) { return load_first(p, first); },
         [first](T* p, Vec<T> v) __attribute__((always_inline)) { store_first(p, v, first); });
  }
  for (; i + lanes <= count; i += lanes) {
    body([i](const T* p) __attribute__((always_inline)) { return load(p + i); },
         [i](T* p, Vec<T> v) __attribute__((always_inline)) { store(p + i, v); });
  }
  if (const int rest = static_cast<int>(count - i); rest > 0) {
    body([i, rest](const T* p) __attribute__((always_inline)) { return load_first(p + i, rest); },
         [i, rest](T* p, Vec<T> v) __attribute__((always_inline)) { store_first(p + i, v, rest); });
  }
}

}  // namespace
