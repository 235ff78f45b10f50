// Walks and reductions along one row, in an order that the size of a register does not change: a row is read
// as if every register held 16 elements. Lane j takes elements j, j + 16, j + 32, ... in order; at the end
// the 16 lanes are folded in halves. Sums are float64.
#pragma once

#include "vec.hpp"

namespace {

inline constexpr int kRowWidth = 16;

/// One register's worth of a row, from element `first` on; `count` of its lanes are elements.
template <class T, bool kWhole>
struct Span {
  int64_t first;
  int count;

  NNCORE_INLINE Vec<T> load(const T* row) const {
    if constexpr (kWhole)
      return ::load(row + first);
    else
      return load_first(row + first, count);
  }
  NNCORE_INLINE void store(T* row, Vec<T> v) const {
    if constexpr (kWhole)
      ::store(row + first, v);
    else
      store_first(row + first, v, count);
  }
  /// v, with `rest` in the lanes that are no elements.
  NNCORE_INLINE Vec<T> only(Vec<T> v, Vec<T> rest) const {
    if constexpr (kWhole)
      return v;
    else
      return lane_numbers<T>() < broadcast_int<T>(static_cast<Int<T>>(count)) ? v : rest;
  }
};

/// body(span) for each register's worth of a row of `count` elements, the last one partial.
template <class T, class Body>
NNCORE_INLINE void for_each_span(int64_t count, Body body) {
  constexpr int lanes = kLanes<T>;
  int64_t i = 0;
  for (; i + lanes <= count; i += lanes) body(Span<T, true>{i, lanes});
  if (i < count) body(Span<T, false>{i, static_cast<int>(count - i)});
}

/// combine over the lanes of v: halves with halves, down to one.
template <class T, int N, class Combine>
NNCORE_INLINE T fold(typename VectorType<T, N>::type v, Combine combine) {
  if constexpr (N == 2) {
    return combine(v[0], v[1]);
  } else {
    struct Halves {
      typename VectorType<T, N / 2>::type low, high;
    };
    const Halves halves = bit_cast<Halves>(v);
    return fold<T, N / 2>(combine(halves.low, halves.high), combine);
  }
}

/// The same over the 16 lanes of a row, which are in memory.
template <class T, class Combine>
NNCORE_INLINE T fold_row(const T* lanes, Combine combine) {
  constexpr int parts = kRowWidth / kLanes<T>;
  Vec<T> part[parts];
  for (int i = 0; i < parts; ++i) part[i] = load(lanes + i * kLanes<T>);
  for (int half = parts / 2; half > 0; half /= 2)
    for (int i = 0; i < half; ++i) part[i] = combine(part[i], part[i + half]);
  return fold<T, kLanes<T>>(part[0], combine);
}

/// v as float64: part 0 is all of it, or the first half where T is float; part 1 the second half.
template <class T>
NNCORE_INLINE Vec<double> widen(Vec<T> v, int part) {
  if constexpr (sizeof(T) == sizeof(double)) {
    return v;
  } else {
    struct Halves {
      typename VectorType<T, kLanes<double>>::type half[2];
    };
    return __builtin_convertvector(bit_cast<Halves>(v).half[part], Vec<double>);
  }
}

/// A sum along a row.
class RowSum {
 public:
  /// Adds the elements of `terms` that belong to the span.
  template <class T, bool kWhole>
  NNCORE_INLINE void add(Span<T, kWhole> span, Vec<T> terms) {
    terms = span.only(terms, Vec<T>{});
    add_wide(span, [=](int part) __attribute__((always_inline)) { return widen<T>(terms, part); });
  }

  /// Adds a b, the product in float64.
  template <class T, bool kWhole>
  NNCORE_INLINE void add_product(Span<T, kWhole> span, Vec<T> a, Vec<T> b) {
    a = span.only(a, Vec<T>{});
    b = span.only(b, Vec<T>{});
    add_wide(span,
             [=](int part) __attribute__((always_inline)) { return widen<T>(a, part) * widen<T>(b, part); });
  }

  /// Adds terms(part), the parts as widen gives them, zero in lanes that are no elements.
  template <class T, bool kWhole, class Terms>
  NNCORE_INLINE void add_wide(Span<T, kWhole> span, Terms terms) {
    double* lanes = lanes_ + span.first % kRowWidth;
    for (int part = 0; part < kLanes<T> / kLanes<double>; ++part, lanes += kLanes<double>)
      store(lanes, load(lanes) + terms(part));
  }

  NNCORE_INLINE double total() const {
    return fold_row(lanes_, [](auto a, auto b) __attribute__((always_inline)) { return a + b; });
  }

 private:
  alignas(64) double lanes_[kRowWidth] = {};
};

/// The largest element of a row. A NaN may be passed over: what is computed from all elements shows it.
template <class T>
NNCORE_INLINE T row_max(const T* row, int64_t count) {
  const auto larger = [](auto a, auto b) __attribute__((always_inline)) { return max(a, b); };
  const Vec<T> lowest = broadcast<T>(-static_cast<T>(__builtin_inf()));
  alignas(64) T lanes[kRowWidth];
  for (int i = 0; i < kRowWidth; i += kLanes<T>) store(lanes + i, lowest);
  for_each_span<T>(count, [&](auto span) __attribute__((always_inline)) {
    T* to = lanes + span.first % kRowWidth;
    store(to, larger(load(to), span.only(span.load(row), lowest)));
  });
  return fold_row(lanes, larger);
}

/// x - largest; 0 for the largest itself, also where it is infinite.
template <class T>
NNCORE_INLINE Vec<T> below_largest(Vec<T> x, T largest) {
  return x == largest ? Vec<T>{} : x - largest;
}

}  // namespace
