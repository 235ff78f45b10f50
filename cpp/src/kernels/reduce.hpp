// Loops and reductions along one row, in an order that does not depend on the register size: a row is read as
// if every register held 16 elements. Lane j takes elements j, j + 16, j + 32, ... in order; at the end the
// 16 lanes are folded in halves. Sums are float64.
#pragma once

#include "vec.hpp"

namespace {

inline constexpr int kRowWidth = 16;

/// The number of registers that hold the 16 lanes.
template <class T>
inline constexpr int kParts = kRowWidth / kLanes<T>;

/// Whether the compiler knows which of the 16 lanes a register holds, so that sums over them stay in
/// registers. With small registers that would repeat the code four and eight times.
inline constexpr bool kUnrolled = NNCORE_VECTOR_BYTES > 16;

/// One register of a row, from element `first` on; `count` of its lanes are elements. kPart is its index
/// among the registers that hold the 16 lanes, or -1 to compute the index from `first`.
template <class T, bool kWhole, int kPart>
struct Span {
  static constexpr bool whole = kWhole;
  int64_t first;
  int count;

  NNCORE_INLINE int part() const {
    return kPart >= 0 ? kPart : static_cast<int>(first % kRowWidth) / kLanes<T>;
  }
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
  /// v, with `rest` in the lanes that are not elements.
  NNCORE_INLINE Vec<T> only(Vec<T> v, Vec<T> rest) const {
    if constexpr (kWhole)
      return v;
    else
      return lane_numbers<T>() < broadcast_int<T>(static_cast<Int<T>>(count)) ? v : rest;
  }
};

template <class T, int kPart, class Body>
NNCORE_INLINE void for_each_whole_part(int64_t first, Body& body) {
  if constexpr (kPart < kParts<T>) {
    body(Span<T, true, kPart>{first, kLanes<T>});
    for_each_whole_part<T, kPart + 1>(first + kLanes<T>, body);
  }
}

template <class T, int kPart, class Body>
NNCORE_INLINE void for_each_partial_part(int64_t first, int count, Body& body) {
  if constexpr (kPart < kParts<T>) {
    if (count <= 0) return;
    body(Span<T, false, kPart>{first, count < kLanes<T> ? count : kLanes<T>});
    for_each_partial_part<T, kPart + 1>(first + kLanes<T>, count - kLanes<T>, body);
  }
}

/// Calls body(span) for each register of a row of `count` elements, in order. kNarrow: count is at most 16.
template <class T, bool kNarrow = false, class Body>
NNCORE_INLINE void for_each_span(int64_t count, Body body) {
  int64_t i = 0;
  if constexpr (kUnrolled) {
    if constexpr (!kNarrow)
      for (; i + kRowWidth <= count; i += kRowWidth) for_each_whole_part<T, 0>(i, body);
    for_each_partial_part<T, 0>(i, static_cast<int>(count - i), body);
  } else {
    for (; i + kLanes<T> <= count; i += kLanes<T>) body(Span<T, true, -1>{i, kLanes<T>});
    if (i < count) body(Span<T, false, -1>{i, static_cast<int>(count - i)});
  }
}

template <bool kValue>
struct Constant {
  static constexpr bool value = kValue;
};

/// Calls body(row, narrow) for each row; decltype(narrow)::value promises at most 16 columns.
template <class Body>
NNCORE_INLINE void for_each_row(int64_t rows, int64_t columns, Body body) {
  if (kUnrolled && columns <= kRowWidth)
    for (int64_t row = 0; row < rows; ++row) body(row, Constant<true>{});
  else
    for (int64_t row = 0; row < rows; ++row) body(row, Constant<false>{});
}

/// How many rows are summed before the logarithms of their sums are taken together.
inline constexpr int64_t kRowBlock = 64;

/// What one pass over a row leaves for the next: in registers for a narrow row, else in `row`, or nowhere if
/// that is null.
template <class T, bool kNarrow>
class Stash {
 public:
  NNCORE_INLINE explicit Stash(T* row) : row_(row) {}

  template <bool kWhole, int kPart>
  NNCORE_INLINE void put(Span<T, kWhole, kPart> span, Vec<T> v) {
    if constexpr (kNarrow)
      part_[span.part()] = v;
    else if (row_ != nullptr)
      span.store(row_, v);
  }
  NNCORE_INLINE bool kept() const { return kNarrow || row_ != nullptr; }
  template <bool kWhole, int kPart>
  NNCORE_INLINE Vec<T> get(Span<T, kWhole, kPart> span) const {
    if constexpr (kNarrow)
      return part_[span.part()];
    else
      return span.load(row_);
  }

 private:
  T* row_;
  Vec<T> part_[kParts<T>] = {};
};

/// Combines the lanes of v, half with half, down to one.
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

/// The same over the 16 lanes of a row.
template <class T, class Combine>
NNCORE_INLINE T fold_row(const Vec<T> (&lanes)[kParts<T>], Combine combine) {
  Vec<T> part[kParts<T>];
  for (int i = 0; i < kParts<T>; ++i) part[i] = lanes[i];
  for (int half = kParts<T> / 2; half > 0; half /= 2)
    for (int i = 0; i < half; ++i) part[i] = combine(part[i], part[i + half]);
  return fold<T, kLanes<T>>(part[0], combine);
}

/// v as float64: part 0 is all of it, or the first half if T is float; part 1 is the second half.
template <class T>
NNCORE_INLINE Vec<double> widen(Vec<T> v, int part) {
  if constexpr (sizeof(T) == sizeof(double)) {
    return v;
  } else {
    struct Halves {
      typename VectorType<T, kLanes<double>>::type half[2];
    };
    return ::widen(bit_cast<Halves>(v).half[part]);
  }
}

/// A sum along a row.
class RowSum {
 public:
  /// Adds the elements of `terms` that belong to the span.
  template <class T, bool kWhole, int kPart>
  NNCORE_INLINE void add(Span<T, kWhole, kPart> span, Vec<T> terms) {
    terms = span.only(terms, Vec<T>{});
    add_wide(span, [=](int part) __attribute__((always_inline)) { return widen<T>(terms, part); });
  }

  /// Adds a b, the product in float64.
  template <class T, bool kWhole, int kPart>
  NNCORE_INLINE void add_product(Span<T, kWhole, kPart> span, Vec<T> a, Vec<T> b) {
    a = span.only(a, Vec<T>{});
    b = span.only(b, Vec<T>{});
    add_wide(span,
             [=](int part) __attribute__((always_inline)) { return widen<T>(a, part) * widen<T>(b, part); });
  }

  /// Adds terms(part), with the parts of widen; they are zero in lanes that are not elements.
  template <class T, bool kWhole, int kPart, class Terms>
  NNCORE_INLINE void add_wide(Span<T, kWhole, kPart> span, Terms terms) {
    constexpr int wide = kLanes<T> / kLanes<double>;
    for (int part = 0; part < wide; ++part) lanes_[span.part() * wide + part] += terms(part);
  }

  NNCORE_INLINE double total() const {
    return fold_row<double>(lanes_, [](auto a, auto b) __attribute__((always_inline)) { return a + b; });
  }

 private:
  Vec<double> lanes_[kParts<double>] = {};
};

/// The largest element of a row. A NaN may be missed, but shows in what is computed from all elements.
template <class T, bool kNarrow = false>
NNCORE_INLINE T row_max(const T* row, int64_t count) {
  const Vec<T> lowest = broadcast<T>(-static_cast<T>(__builtin_inf()));
  Vec<T> lanes[kParts<T>];
  for (Vec<T>& lane : lanes) lane = lowest;
  for_each_span<T, kNarrow>(count, [&](auto span) __attribute__((always_inline)) {
    Vec<T>& lane = lanes[span.part()];
    lane = max(lane, span.only(span.load(row), lowest));
  });
  return fold_row<T>(lanes, [](auto a, auto b) __attribute__((always_inline)) { return max(a, b); });
}

/// x - largest, and 0 where x is the largest, even if that is infinite.
template <class T>
NNCORE_INLINE Vec<T> below_largest(Vec<T> x, T largest) {
  return x == largest ? Vec<T>{} : x - largest;
}

}  // namespace
