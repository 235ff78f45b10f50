// Elementwise kernels, activations and their derivatives, sums over rows.
#pragma once

#include "elementary.hpp"
#include "reduce.hpp"
#include "table.hpp"
#include "vec.hpp"

namespace {

/// out = F(in)
template <class T, Vec<T> (*F)(Vec<T>)>
void map(const T* in, T* out, int64_t count) {
  for_each_vector<T>(count,
                     [=](auto load, auto store) __attribute__((always_inline)) { store(out, F(load(in))); });
}

/// out = F(a, b)
template <class T, Vec<T> (*F)(Vec<T>, Vec<T>)>
void map(const T* a, const T* b, T* out, int64_t count) {
  for_each_vector<T>(
      count, [=](auto load, auto store) __attribute__((always_inline)) { store(out, F(load(a), load(b))); });
}

template <class T>
NNCORE_INLINE Vec<T> sum_of(Vec<T> a, Vec<T> b) {
  return a + b;
}
template <class T>
NNCORE_INLINE Vec<T> product_of(Vec<T> a, Vec<T> b) {
  return a * b;
}

template <class T>
void multiply_add(const T* a, const T* b, T* out, int64_t count) {
  for_each_vector<T>(count, [=](auto load, auto store) __attribute__((always_inline)) {
    store(out, load(out) + load(a) * load(b));
  });
}

/// Vectors registers of columns; the last one has `rest` of them.
template <class T, int Vectors>
NNCORE_INLINE void sum_columns(const T* in, int64_t row_stride, int64_t rows, int rest, T* sums,
                               bool accumulate) {
  constexpr int lanes = kLanes<T>;
  const auto load_row = [rest](const T* row, int v) __attribute__((always_inline)) {
    return v == Vectors - 1 ? load_first(row + v * lanes, rest) : load(row + v * lanes);
  };
  Vec<T> sum[Vectors] = {};
  for (int64_t r = 0; r < rows; ++r, in += row_stride) {
#pragma GCC unroll 8
    for (int v = 0; v < Vectors; ++v) sum[v] = sum[v] + load_row(in, v);
  }
#pragma GCC unroll 8
  for (int v = 0; v < Vectors; ++v) {
    const Vec<T> result = accumulate ? load_row(sums, v) + sum[v] : sum[v];
    store_first(sums + v * lanes, result, v == Vectors - 1 ? rest : lanes);
  }
}

/// One addition waits for the last: several registers of columns go side by side.
template <class T>
void sum_rows(const T* in, int64_t row_stride, int64_t rows, int64_t columns, T* sums, bool accumulate) {
  constexpr int lanes = kLanes<T>, wide = 8 * lanes;
  for (; columns >= wide; columns -= wide, in += wide, sums += wide)
    sum_columns<T, 8>(in, row_stride, rows, lanes, sums, accumulate);
  for (; columns > lanes; columns -= 2 * lanes, in += 2 * lanes, sums += 2 * lanes) {
    const auto rest = static_cast<int>(columns < 2 * lanes ? columns - lanes : lanes);
    sum_columns<T, 2>(in, row_stride, rows, rest, sums, accumulate);
  }
  if (columns > 0) sum_columns<T, 1>(in, row_stride, rows, static_cast<int>(columns), sums, accumulate);
}

// Activations of one element, and grad_out times the derivative there, from the output a.

template <class T>
NNCORE_INLINE Vec<T> identity(Vec<T> z) {
  return z;
}
template <class T>
NNCORE_INLINE Vec<T> relu(Vec<T> z) {
  return max(Vec<T>{}, z);
}

template <class T>
NNCORE_INLINE Vec<T> identity_gradient(Vec<T> grad_out, Vec<T>) {
  return grad_out;
}
template <class T>
NNCORE_INLINE Vec<T> sigmoid_gradient(Vec<T> grad_out, Vec<T> a) {
  return grad_out * (a * (T(1) - a));
}
template <class T>
NNCORE_INLINE Vec<T> tanh_gradient(Vec<T> grad_out, Vec<T> a) {
  return grad_out * ((T(1) - a) * (T(1) + a));
}
template <class T>
NNCORE_INLINE Vec<T> relu_gradient(Vec<T> grad_out, Vec<T> a) {
  return a > T(0) ? grad_out : a - a;  // a - a is 0, and NaN where a is
}

using nncore::kernels::Rows;

/// Rows without gaps between them are one row.
template <class... R>
NNCORE_INLINE void join_rows(int64_t& rows, int64_t& columns, R... matrices) {
  if (((matrices.row_stride == columns) && ...)) {
    columns *= rows;
    rows = rows > 0 ? 1 : 0;
  }
}

/// How many of a long row's elements come before the first whole register that is aligned: a store across two
/// lines of the cache costs two. (NumPy's large arrays all begin 16 bytes behind such a line.)
template <class T>
NNCORE_INLINE int64_t unaligned_head(const T* row, int64_t count) {
  const uintptr_t beyond = reinterpret_cast<uintptr_t>(row) % NNCORE_VECTOR_BYTES;
  if (count < 4096 || beyond % sizeof(T) != 0) return 0;
  return static_cast<int64_t>((NNCORE_VECTOR_BYTES - beyond) % NNCORE_VECTOR_BYTES / sizeof(T));
}

/// out = F(in)
template <class T, Vec<T> (*F)(Vec<T>)>
void forward(Rows<const T> in, Rows<T> out, int64_t rows, int64_t columns) {
  join_rows(rows, columns, in, out);
  for (; rows > 0; --rows, in.data += in.row_stride, out.data += out.row_stride)
    for_each_vector<T>(
        columns,
        [=](auto load, auto store) __attribute__((always_inline)) { store(out.data, F(load(in.data))); },
        unaligned_head(out.data, columns));
}

/// grad_in (+)= F(grad_out, output)
template <class T, Vec<T> (*F)(Vec<T>, Vec<T>)>
void backward(Rows<const T> grad_out, Rows<const T> output, Rows<T> grad_in, int64_t rows, int64_t columns,
              bool accumulate) {
  join_rows(rows, columns, grad_out, output, grad_in);
  for (int64_t row = 0; row < rows; ++row) {
    const T* g = grad_out.data + row * grad_out.row_stride;
    const T* a = output.data + row * output.row_stride;
    T* to = grad_in.data + row * grad_in.row_stride;
    for_each_vector<T>(
        columns,
        [=](auto load, auto store) __attribute__((always_inline)) {
          const Vec<T> gradient = F(load(g), load(a));
          store(to, accumulate ? load(to) + gradient : gradient);
        },
        unaligned_head(to, columns));
  }
}

// Activations of one row.

template <class T>
void softmax(Rows<const T> in, Rows<T> out, int64_t rows, int64_t columns) {
  for_each_row(rows, columns, [=](int64_t row, auto narrow) __attribute__((always_inline)) {
    constexpr bool kNarrow = decltype(narrow)::value;
    const T* from = in.data + row * in.row_stride;
    T* to = out.data + row * out.row_stride;
    const T largest = row_max<T, kNarrow>(from, columns);
    Stash<T, kNarrow> powers(to);
    RowSum sum;
    for_each_span<T, kNarrow>(columns, [&](auto span) __attribute__((always_inline)) {
      const Vec<T> e = exp<T>(below_largest<T>(span.load(from), largest));
      powers.put(span, e);
      sum.add(span, e);
    });
    const T scale = static_cast<T>(1 / sum.total());
    for_each_span<T, kNarrow>(
        columns, [&](auto span) __attribute__((always_inline)) { span.store(to, powers.get(span) * scale); });
  });
}

/// Of each row first the largest and the sum of the powers; the logarithms of many sums together.
template <class T>
void log_softmax(Rows<const T> in, Rows<T> out, int64_t rows, int64_t columns) {
  double sums[kRowBlock];
  T largest[kRowBlock];
  for (int64_t first = 0; first < rows; first += kRowBlock) {
    const int64_t count = rows - first < kRowBlock ? rows - first : kRowBlock;
    for_each_row(count, columns, [&](int64_t row, auto narrow) __attribute__((always_inline)) {
      constexpr bool kNarrow = decltype(narrow)::value;
      const T* from = in.data + (first + row) * in.row_stride;
      largest[row] = row_max<T, kNarrow>(from, columns);
      RowSum sum;
      for_each_span<T, kNarrow>(columns, [&](auto span) __attribute__((always_inline)) {
        sum.add(span, exp<T>(below_largest<T>(span.load(from), largest[row])));
      });
      sums[row] = sum.total();
    });
    map<double, log<double>>(sums, sums, count);
    for (int64_t row = 0; row < count; ++row) {
      const T* from = in.data + (first + row) * in.row_stride;
      T* to = out.data + (first + row) * out.row_stride;
      const T high = largest[row], log_sum = static_cast<T>(sums[row]);
      for_each_vector<T>(columns, [=](auto load, auto store) __attribute__((always_inline)) {
        store(to, below_largest<T>(load(from), high) - log_sum);
      });
    }
  }
}

/// grad_in (+)= F(g, a, s) with s = sum of terms(g, a) over the row.
template <class T, class Add, class Gradient>
NNCORE_INLINE void backward_by_row(Rows<const T> grad_out, Rows<const T> output, Rows<T> grad_in,
                                   int64_t rows, int64_t columns, bool accumulate, Add add,
                                   Gradient gradient) {
  for_each_row(rows, columns, [=](int64_t row, auto narrow) __attribute__((always_inline)) {
    constexpr bool kNarrow = decltype(narrow)::value;
    const T* g = grad_out.data + row * grad_out.row_stride;
    const T* a = output.data + row * output.row_stride;
    T* to = grad_in.data + row * grad_in.row_stride;
    RowSum sum;
    for_each_span<T, kNarrow>(columns, [&](auto span) __attribute__((always_inline)) {
      add(sum, span, span.load(g), span.load(a));
    });
    const T total = static_cast<T>(sum.total());
    for_each_span<T, kNarrow>(columns, [&](auto span) __attribute__((always_inline)) {
      const Vec<T> result = gradient(span.load(g), span.load(a), total);
      span.store(to, accumulate ? span.load(to) + result : result);
    });
  });
}

/// grad_in (+)= a o (grad_out - sum grad_out o a)
template <class T>
void softmax_backward(Rows<const T> grad_out, Rows<const T> output, Rows<T> grad_in, int64_t rows,
                      int64_t columns, bool accumulate) {
  backward_by_row<T>(
      grad_out, output, grad_in, rows, columns, accumulate,
      [](RowSum& sum, auto span, Vec<T> g, Vec<T> a)
          __attribute__((always_inline)) { sum.add_product(span, g, a); },
      [](Vec<T> g, Vec<T> a, T mean) __attribute__((always_inline)) { return a * (g - mean); });
}

/// grad_in (+)= grad_out - e^a sum grad_out
template <class T>
void log_softmax_backward(Rows<const T> grad_out, Rows<const T> output, Rows<T> grad_in, int64_t rows,
                          int64_t columns, bool accumulate) {
  backward_by_row<T>(
      grad_out, output, grad_in, rows, columns, accumulate,
      [](RowSum& sum, auto span, Vec<T> g, Vec<T>) __attribute__((always_inline)) { sum.add(span, g); },
      [](Vec<T> g, Vec<T> a, T sum) __attribute__((always_inline)) { return g - exp<T>(a) * sum; });
}

template <class T>
constexpr void add_elementwise_kernels(nncore::kernels::Kernels<T>& k) {
  using nncore::Activation;
  k.exp = map<T, exp<T>>;
  k.log = map<T, log<T>>;
  k.add = map<T, sum_of<T>>;
  k.multiply = map<T, product_of<T>>;
  k.multiply_add = multiply_add<T>;
  k.sum_rows = sum_rows<T>;

  const auto forward = [&k](Activation a) -> auto& { return k.activation_forward[static_cast<int>(a)]; };
  forward(Activation::identity) = ::forward<T, identity<T>>;
  forward(Activation::sigmoid) = ::forward<T, sigmoid<T>>;
  forward(Activation::tanh) = ::forward<T, tanh<T>>;
  forward(Activation::relu) = ::forward<T, relu<T>>;
  forward(Activation::softmax) = softmax<T>;
  forward(Activation::log_softmax) = log_softmax<T>;

  const auto gradient = [&k](Activation a) -> auto& { return k.activation_backward[static_cast<int>(a)]; };
  gradient(Activation::identity) = backward<T, identity_gradient<T>>;
  gradient(Activation::sigmoid) = backward<T, sigmoid_gradient<T>>;
  gradient(Activation::tanh) = backward<T, tanh_gradient<T>>;
  gradient(Activation::relu) = backward<T, relu_gradient<T>>;
  gradient(Activation::softmax) = softmax_backward<T>;
  gradient(Activation::log_softmax) = log_softmax_backward<T>;
}

}  // namespace
