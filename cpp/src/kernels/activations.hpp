// Activations: a kernel for each entry of kActivations, with its formula for one register or for one row.
//
// An elementwise kernel is constructed from the parameters. It has
//  - if the entry's derivative reads the output: value(z), and gradient(g, a), g times the derivative at the
//    output a;
//  - if it reads the input, or if the function is smooth (its entry has more than one order): parts(z), what
//    value and derivatives share, and derivative<n>(parts), the n-th derivative; the 0-th is the value.
// A kernel of rows has forward and backward over whole rows.
#pragma once

#include "elementary.hpp"
#include "elementwise.hpp"
#include "nncore/activations.hpp"
#include "reduce.hpp"
#include "table.hpp"
#include "vec.hpp"

namespace {

using nncore::Activation;
using nncore::ActivationKind;
using nncore::kernels::ActivationBackwardCall;
using nncore::kernels::ActivationCall;

template <class T, ActivationKind kind>
struct ActivationKernel;

// Elementwise ----------------------------------------------------------------------------------------------

template <class T>
struct ActivationKernel<T, ActivationKind::identity> {
  NNCORE_INLINE explicit ActivationKernel(const Activation&) {}
  NNCORE_INLINE Vec<T> value(Vec<T> z) const { return z; }
  NNCORE_INLINE Vec<T> gradient(Vec<T> g, Vec<T>) const { return g; }
};

/// The derivatives of s = 1 / (1 + e^-z), from s.
template <class T, int order>
NNCORE_INLINE Vec<T> sigmoid_derivative(Vec<T> s) {
  const Vec<T> first = s * (T(1) - s);
  if constexpr (order == 0) return s;
  if constexpr (order == 1) return first;
  if constexpr (order == 2) return first * (T(1) - T(2) * s);
  if constexpr (order == 3) return first * (T(1) - T(6) * first);
}

template <class T>
struct ActivationKernel<T, ActivationKind::sigmoid> {
  NNCORE_INLINE explicit ActivationKernel(const Activation&) {}
  NNCORE_INLINE Vec<T> value(Vec<T> z) const { return sigmoid<T>(z); }
  NNCORE_INLINE Vec<T> gradient(Vec<T> g, Vec<T> a) const { return g * (a * (T(1) - a)); }
  NNCORE_INLINE Vec<T> parts(Vec<T> z) const { return sigmoid<T>(z); }
  template <int order>
  NNCORE_INLINE Vec<T> derivative(Vec<T> a) const {
    return sigmoid_derivative<T, order>(a);
  }
};

template <class T>
struct ActivationKernel<T, ActivationKind::tanh> {
  NNCORE_INLINE explicit ActivationKernel(const Activation&) {}
  NNCORE_INLINE Vec<T> value(Vec<T> z) const { return tanh<T>(z); }
  NNCORE_INLINE Vec<T> gradient(Vec<T> g, Vec<T> a) const { return g * ((T(1) - a) * (T(1) + a)); }
  NNCORE_INLINE Vec<T> parts(Vec<T> z) const { return tanh<T>(z); }
  template <int order>
  NNCORE_INLINE Vec<T> derivative(Vec<T> a) const {
    const Vec<T> first = (T(1) - a) * (T(1) + a);
    if constexpr (order == 0) return a;
    if constexpr (order == 1) return first;
    if constexpr (order == 2) return T(-2) * a * first;
    if constexpr (order == 3) return T(-2) * first * (T(1) - T(3) * (a * a));
  }
};

template <class T>
struct ActivationKernel<T, ActivationKind::relu> {
  NNCORE_INLINE explicit ActivationKernel(const Activation&) {}
  NNCORE_INLINE Vec<T> value(Vec<T> z) const { return max(Vec<T>{}, z); }
  /// a - a is 0, or NaN if a is.
  NNCORE_INLINE Vec<T> gradient(Vec<T> g, Vec<T> a) const { return a > T(0) ? g : a - a; }
};

template <class T>
struct ActivationKernel<T, ActivationKind::leaky_relu> {
  T slope;
  NNCORE_INLINE explicit ActivationKernel(const Activation& a) : slope(static_cast<T>(a.negative_slope)) {}
  /// With slope 0, a negative z gives -0. z is kept finite, because -infinity would give NaN where the limit
  /// is 0.
  NNCORE_INLINE Vec<T> value(Vec<T> z) const {
    const Vec<T> finite = max(broadcast<T>(-Format<T>::largest), z);
    return z > T(0) ? z : (slope == T(0) ? finite : z) * slope;
  }
  NNCORE_INLINE Vec<T> gradient(Vec<T> g, Vec<T> a) const { return a > T(0) ? g : (a == a ? g * slope : a); }
};

/// z within what an exponential can bear: beyond, products with it are 0, but infinity times 0 would be NaN.
template <class T>
NNCORE_INLINE Vec<T> clamped(Vec<T> z, T most) {
  return max(broadcast<T>(-most), min(broadcast<T>(most), z));
}

template <class T>
struct ActivationKernel<T, ActivationKind::silu> {
  struct Parts {
    Vec<T> z, s;
  };
  NNCORE_INLINE explicit ActivationKernel(const Activation&) {}
  NNCORE_INLINE Parts parts(Vec<T> z) const { return {z, sigmoid<T>(z)}; }
  template <int order>
  NNCORE_INLINE Vec<T> derivative(Parts p) const {
    if constexpr (order == 0) return max(broadcast<T>(Format<T>::exp_lowest), p.z) * p.s;
    if constexpr (order > 0) {
      const Vec<T> z = clamped<T>(p.z, Format<T>::exp_highest);
      return fma(z, sigmoid_derivative<T, order>(p.s), T(order) * sigmoid_derivative<T, order - 1>(p.s));
    }
  }
};

template <class T>
struct ActivationKernel<T, ActivationKind::gelu> {
  /// `below` and `density` are the probability below z and its derivative, for the normal distribution. In
  /// the tanh form z s(v), with v = 2 sqrt(2 / pi) (z + 0.044715 z^3) and s the sigmoid function, `below` is
  /// s(v) and `density` is not used.
  struct Parts {
    Vec<T> z, below, density;
  };
  bool approximate;
  NNCORE_INLINE explicit ActivationKernel(const Activation& a) : approximate(a.approximate != 0.0) {}
  NNCORE_INLINE Parts parts(Vec<T> z) const {
    if (!approximate) {
      const NormalProbability<T> p = normal_probability<T>(z);
      return {z, p.below, p.density};
    }
    const Vec<T> bounded = clamped<T>(z, Format<T>::normal_beyond);
    const Vec<T> cubic = fma(bounded * bounded, broadcast<T>(T(0.044715)), broadcast<T>(1));
    return {z, sigmoid<T>(T(1.5957691216057308) * bounded * cubic), Vec<T>{}};
  }
  template <int order>
  NNCORE_INLINE Vec<T> derivative(Parts p) const {
    if constexpr (order == 0) return max(broadcast<T>(-Format<T>::normal_beyond), p.z) * p.below;
    if constexpr (order > 0) {
      const Vec<T> z = clamped<T>(p.z, Format<T>::normal_beyond);
      if (approximate) return tanh_form<order>(z, p.below);
      if constexpr (order == 1) return fma(z, p.density, p.below);
      if constexpr (order == 2) return p.density * (T(2) - z * z);
      if constexpr (order == 3) return p.density * (z * (z * z - T(4)));
    }
  }

 private:
  /// The derivatives of z s(v(z)).
  template <int order>
  NNCORE_INLINE Vec<T> tanh_form(Vec<T> z, Vec<T> s) const {
    constexpr T scale = T(1.5957691216057308), cube = T(0.044715);  // 2 sqrt(2 / pi)
    const Vec<T> v1 = scale * fma(z * z, broadcast<T>(3 * cube), broadcast<T>(1)),
                 v2 = (6 * scale * cube) * z;
    const Vec<T> s1 = sigmoid_derivative<T, 1>(s), p1 = s1 * v1;
    if constexpr (order == 1) return fma(z, p1, s);
    const Vec<T> s2 = sigmoid_derivative<T, 2>(s), p2 = fma(s2 * v1, v1, s1 * v2);
    if constexpr (order == 2) return fma(z, p2, T(2) * p1);
    if constexpr (order == 3) {
      const Vec<T> s3 = sigmoid_derivative<T, 3>(s);
      const Vec<T> p3 = fma(s3 * v1 * v1, v1, T(3) * s2 * v1 * v2) + s1 * (6 * scale * cube);
      return fma(z, p3, T(3) * p2);
    }
  }
};

template <class T>
struct ActivationKernel<T, ActivationKind::softsign> {
  NNCORE_INLINE explicit ActivationKernel(const Activation&) {}
  NNCORE_INLINE Vec<T> value(Vec<T> z) const {
    const Vec<T> finite = clamped<T>(z, Format<T>::largest);  // infinity over infinity would be NaN
    return finite / (1 + magnitude<T>(finite));
  }
  NNCORE_INLINE Vec<T> gradient(Vec<T> g, Vec<T> a) const {
    const Vec<T> rest = 1 - magnitude<T>(a);
    return g * (rest * rest);
  }
};

// Rows -----------------------------------------------------------------------------------------------------

/// grad_in (+)= gradient(g, a, s), where `add` accumulates the sum s over the row.
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

template <class T>
struct ActivationKernel<T, ActivationKind::softmax> {
  static void forward(Rows<const T> in, Rows<T> out, int64_t rows, int64_t columns) {
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
      for_each_span<T, kNarrow>(columns, [&](auto span) __attribute__((always_inline)) {
        span.store(to, powers.get(span) * scale);
      });
    });
  }

  /// grad_in (+)= a o (grad_out - sum grad_out o a)
  static void backward(Rows<const T> grad_out, Rows<const T> output, Rows<T> grad_in, int64_t rows,
                       int64_t columns, bool accumulate) {
    backward_by_row<T>(
        grad_out, output, grad_in, rows, columns, accumulate,
        [](RowSum& sum, auto span, Vec<T> g, Vec<T> a)
            __attribute__((always_inline)) { sum.add_product(span, g, a); },
        [](Vec<T> g, Vec<T> a, T mean) __attribute__((always_inline)) { return a * (g - mean); });
  }
};

template <class T>
struct ActivationKernel<T, ActivationKind::log_softmax> {
  /// First the largest element and the sum of powers of each row, then the logarithms of many sums together.
  static void forward(Rows<const T> in, Rows<T> out, int64_t rows, int64_t columns) {
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

  /// grad_in (+)= grad_out - e^a sum grad_out
  static void backward(Rows<const T> grad_out, Rows<const T> output, Rows<T> grad_in, int64_t rows,
                       int64_t columns, bool accumulate) {
    backward_by_row<T>(
        grad_out, output, grad_in, rows, columns, accumulate,
        [](RowSum& sum, auto span, Vec<T> g, Vec<T>) __attribute__((always_inline)) { sum.add(span, g); },
        [](Vec<T> g, Vec<T> a, T sum) __attribute__((always_inline)) { return g - exp<T>(a) * sum; });
  }
};

// The table ------------------------------------------------------------------------------------------------

template <class T, ActivationKind kind>
NNCORE_INLINE Vec<T> value_of(const ActivationKernel<T, kind>& kernel, Vec<T> z) {
  if constexpr (nncore::reads_input(kind, 0))
    return kernel.template derivative<0>(kernel.parts(z));
  else
    return kernel.value(z);
}

/// A derivative of a smooth activation, of order 1 to 3. Not inlined, because the loops over it are many and
/// rarely run.
template <class T, ActivationKind kind>
__attribute__((noinline)) Vec<T> derivative_of(const ActivationKernel<T, kind>& kernel, Vec<T> z, int order) {
  const auto parts = kernel.parts(z);
  switch (order) {
    case 1:
      return kernel.template derivative<1>(parts);
    case 2:
      return kernel.template derivative<2>(parts);
    default:
      return kernel.template derivative<3>(parts);
  }
}

/// out = f(in), or its derivative of the activation's order if kIsDerivative; and the next derivative, if the
/// call has room for it.
template <class T, ActivationKind kind, bool kIsDerivative>
NNCORE_INLINE void activate(const ActivationCall<T>& callers_call) {
  const ActivationCall<T> call = callers_call;  // a local copy, which no store can change
  const ActivationKernel<T, kind> kernel(*call.activation);
  Rows<const T> in = call.in;
  Rows<T> out = call.out, kept = call.derivative;
  int64_t rows = call.rows, columns = call.columns;
  [[maybe_unused]] const int order = call.activation->order;
  if (kept.data == nullptr) {
    join_rows(rows, columns, in, out);
    for (; rows > 0; --rows, in.data += in.row_stride, out.data += out.row_stride)
      for_each_vector<T>(
          columns,
          [=](auto load, auto store) __attribute__((always_inline)) {
            if constexpr (kIsDerivative)
              store(out.data, derivative_of<T, kind>(kernel, load(in.data), order));
            else
              store(out.data, value_of<T, kind>(kernel, load(in.data)));
          },
          unaligned_head(out.data, columns));
    return;
  }
  if constexpr (kIsDerivative || nncore::reads_input(kind, 0)) {
    join_rows(rows, columns, in, out, kept);
    for (; rows > 0;
         --rows, in.data += in.row_stride, out.data += out.row_stride, kept.data += kept.row_stride)
      for_each_vector<T>(columns, [=](auto load, auto store) __attribute__((always_inline)) {
        if constexpr (kIsDerivative) {
          const Vec<T> z = load(in.data);
          store(out.data, derivative_of<T, kind>(kernel, z, order));
          store(kept.data, derivative_of<T, kind>(kernel, z, order + 1));
        } else {
          const auto parts = kernel.parts(load(in.data));
          store(out.data, kernel.template derivative<0>(parts));
          store(kept.data, kernel.template derivative<1>(parts));
        }
      });
  }
}

/// grad_in (+)= grad_out o f', from what the entry's derivative reads.
template <class T, ActivationKind kind, bool kIsDerivative>
NNCORE_INLINE void derive(const ActivationBackwardCall<T>& callers_call) {
  const ActivationBackwardCall<T> call = callers_call;  // a local copy, which no store can change
  const ActivationKernel<T, kind> kernel(*call.activation);
  int64_t rows = call.rows, columns = call.columns;
  [[maybe_unused]] const int order = call.activation->order;
  join_rows(rows, columns, call.grad_out, call.kept, call.grad_in);
  for (int64_t row = 0; row < rows; ++row) {
    const T* g = call.grad_out.data + row * call.grad_out.row_stride;
    const T* kept = call.kept.data + row * call.kept.row_stride;
    T* to = call.grad_in.data + row * call.grad_in.row_stride;
    for_each_vector<T>(
        columns,
        [=, accumulate = call.accumulate](auto load, auto store) __attribute__((always_inline)) {
          Vec<T> gradient;
          if constexpr (kIsDerivative)
            gradient = load(g) * derivative_of<T, kind>(kernel, load(kept), order + 1);
          else if constexpr (nncore::reads_input(kind, 0))
            gradient = load(g) * kernel.template derivative<1>(kernel.parts(load(kept)));
          else
            gradient = kernel.gradient(load(g), load(kept));
          store(to, accumulate ? load(to) + gradient : gradient);
        },
        unaligned_head(to, columns));
  }
}

template <class T, ActivationKind kind>
void forward(const ActivationCall<T>& call) {
  if constexpr (!nncore::entry_of(kind).is_elementwise) {
    ActivationKernel<T, kind>::forward(call.in, call.out, call.rows, call.columns);
  } else if constexpr (nncore::entry_of(kind).orders > 1) {
    return call.activation->order > 0 ? activate<T, kind, true>(call) : activate<T, kind, false>(call);
  } else {
    activate<T, kind, false>(call);
  }
}

template <class T, ActivationKind kind>
void backward(const ActivationBackwardCall<T>& call) {
  if constexpr (!nncore::entry_of(kind).is_elementwise) {
    ActivationKernel<T, kind>::backward(call.grad_out, call.kept, call.grad_in, call.rows, call.columns,
                                        call.accumulate);
  } else if constexpr (nncore::entry_of(kind).orders > 1) {
    return call.activation->order > 0 ? derive<T, kind, true>(call) : derive<T, kind, false>(call);
  } else {
    derive<T, kind, false>(call);
  }
}

template <class T, int kind = 0>
constexpr void add_activation_kernels(nncore::kernels::Kernels<T>& k) {
  if constexpr (kind < nncore::kActivationCount) {
    constexpr auto activation = static_cast<ActivationKind>(kind);
    k.activation_forward[kind] = forward<T, activation>;
    k.activation_backward[kind] = backward<T, activation>;
    add_activation_kernels<T, kind + 1>(k);
  }
}

}  // namespace
