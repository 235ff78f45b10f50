// Activations and their derivatives, compared with scalar loops on every instruction set.
#include "nncore/activations.hpp"

#include <algorithm>
#include <stdexcept>
#include <string>
#include <vector>

#include "check.hpp"
#include "kernels/table.hpp"
#include "numeric.hpp"

using namespace numeric;
using nncore::Activation;
using nncore::ActivationKind;
using nncore::Matrix;

namespace {

/// Every entry of the table, with its default and other parameters, and its derivatives that are activations.
std::vector<Activation> all_activations() {
  std::vector<Activation> all;
  for (const nncore::ActivationEntry& entry : nncore::kActivations) {
    for (int order = 0; order < entry.orders; ++order) {
      Activation activation = entry.kind;
      activation.order = order;
      all.push_back(activation);
      for (const auto& parameter : entry.parameters) {
        if (parameter.name == nullptr) continue;
        for (const double value : {0.0, 0.3, 1.0}) {
          Activation other = activation;
          if (parameter.choices != nullptr && value == 0.3) continue;
          if (!parameter.range.contains(value)) continue;
          other.*parameter.field = value;
          all.push_back(other);
        }
      }
    }
  }
  return all;
}

/// The kinds whose formulas are repeated in this file.
constexpr ActivationKind kWithFormula[] = {ActivationKind::identity, ActivationKind::sigmoid,
                                           ActivationKind::tanh,     ActivationKind::relu,
                                           ActivationKind::softmax,  ActivationKind::log_softmax};

std::string text(const Activation& activation) {
  return std::string(nncore::entry_of(activation.kind).name) + " of order " +
         std::to_string(activation.order);
}

bool is_elementwise(const Activation& activation) { return nncore::entry_of(activation.kind).is_elementwise; }

/// The array that the derivative reads.
template <class T>
const std::vector<T>& kept(const Activation& activation, const std::vector<T>& z, const std::vector<T>& a) {
  return nncore::reads_input(activation) ? z : a;
}

/// The points where an elementwise activation has no derivative; the others have one everywhere.
std::vector<double> kinks(const Activation& activation) {
  if (nncore::entry_of(activation.kind).has_kink) return {0};
  return {};
}

/// Values, and how far correct results may be from them.
struct Expected {
  std::vector<long double> values, tolerances;
};

/// f of one row. exp, log, tanh and sigmoid may be 2 ULP off, every other operation half an ULP.
template <class T>
Expected forward_row(const Activation& activation, const std::vector<T>& z) {
  const long double eps = kEpsilon<T>;
  const long double largest = *std::max_element(z.begin(), z.end());
  const long double smallest = *std::min_element(z.begin(), z.end());
  long double sum = 0;
  for (const long double x : z) sum += std::exp(x - largest);
  // For each term of the sum: rounding its exponent, then exp; float64 additions come on top.
  const long double sum_error =
      eps * (largest - smallest + 4) + kEpsilon<double> * static_cast<long double>(z.size());
  Expected e;
  for (const long double x : z) {
    long double value = x, tolerance = 0;
    if (activation.kind == ActivationKind::sigmoid)
      value = 1 / (1 + std::exp(-x)), tolerance = 2 * eps * value;
    if (activation.kind == ActivationKind::tanh) value = std::tanh(x), tolerance = 2 * eps * std::fabs(value);
    if (activation.kind == ActivationKind::relu) value = std::max(x, 0.0L);
    if (activation.kind == ActivationKind::softmax) {
      value = std::exp(x - largest) / sum;
      tolerance = value * (eps * (largest - x + 4) + sum_error);
    }
    if (activation.kind == ActivationKind::log_softmax) {
      value = x - largest - std::log(sum);
      tolerance = eps * (largest - x + 3 * std::log(sum) + std::fabs(value)) + sum_error;
    }
    e.values.push_back(value);
    e.tolerances.push_back(tolerance + static_cast<long double>(std::numeric_limits<T>::denorm_min()));
  }
  return e;
}

/// f' of one row from the output, through the whole Jacobian.
template <class T>
Expected backward_row(const Activation& activation, const std::vector<T>& g, const std::vector<T>& a) {
  const long double eps = kEpsilon<T>;
  Expected e;
  for (std::size_t i = 0; i < a.size(); ++i) {
    const long double y = a[i];
    long double value = 0, tolerance = 0;
    if (activation.kind == ActivationKind::softmax || activation.kind == ActivationKind::log_softmax) {
      for (std::size_t k = 0; k < a.size(); ++k) {
        const long double delta = i == k ? 1 : 0, yk = a[k];
        const long double jacobian =
            activation.kind == ActivationKind::softmax ? yk * (delta - y) : delta - std::exp(y);
        const long double factor = activation.kind == ActivationKind::softmax ? y * yk : std::exp(y);
        value += jacobian * static_cast<long double>(g[k]);
        tolerance += (4 * eps + kEpsilon<double> * static_cast<long double>(a.size())) *
                     (delta * std::fabs(y) + factor + delta) * std::fabs(static_cast<long double>(g[k]));
      }
    } else {
      long double derivative = 1;
      if (activation.kind == ActivationKind::sigmoid) derivative = y * (1 - y);
      if (activation.kind == ActivationKind::tanh) derivative = 1 - y * y;
      if (activation.kind == ActivationKind::relu) derivative = y > 0 ? 1 : 0;
      value = static_cast<long double>(g[i]) * derivative;
      tolerance = 2 * eps * std::fabs(value);
    }
    e.values.push_back(value);
    e.tolerances.push_back(tolerance);
  }
  return e;
}

template <class T>
void check_forward(const Activation& activation, std::int64_t columns) {
  constexpr std::int64_t rows = 3;
  Random random(static_cast<unsigned>(columns));
  for (const double range : {1.0, 30.0}) {
    const std::vector<T> z = random.uniform<T>(rows * columns, -range, range);
    Guarded<T> a(rows * columns);
    nncore::activation_forward<T>(activation, {z.data(), rows, columns}, {a.data(), rows, columns});
    for (std::int64_t row = 0; row < rows; ++row) {
      const Expected e =
          forward_row(activation, std::vector<T>(z.begin() + row * columns, z.begin() + (row + 1) * columns));
      for (std::int64_t i = 0; i < columns; ++i) {
        const auto at = static_cast<std::size_t>(i);
        check_close(a[row * columns + i], e.values[at], e.tolerances[at], text(activation));
      }
    }
    CHECK(a.intact());
  }
}

template <class T>
void check_backward(const Activation& activation, std::int64_t columns, bool accumulate) {
  Random random(static_cast<unsigned>(columns));
  std::vector<T> a = random.uniform<T>(columns, -4, 4);
  nncore::activation_forward<T>(activation, {a.data(), 1, columns}, {a.data(), 1, columns});
  const std::vector<T> g = random.uniform<T>(columns, -2, 2);
  const std::vector<T> before = random.uniform<T>(columns, -2, 2);
  Guarded<T> grad_input(before);
  nncore::activation_backward<T>(activation, {g.data(), 1, columns}, {a.data(), 1, columns},
                                 {grad_input.data(), 1, columns}, accumulate);
  const Expected e = backward_row(activation, g, a);
  for (std::int64_t i = 0; i < columns; ++i) {
    const auto at = static_cast<std::size_t>(i);
    const long double start = accumulate ? static_cast<long double>(before[at]) : 0;
    const long double rounding = accumulate ? kEpsilon<T> * std::fabs(start + e.values[at]) : 0;
    check_close(grad_input[i], start + e.values[at], e.tolerances[at] + rounding, text(activation));
  }
  CHECK(grad_input.intact());
}

/// Compares the derivative of L = sum g f(z) by central differences with activation_backward.
void check_central_differences(const Activation& activation, std::int64_t columns) {
  Random random(5);
  std::vector<double> z = random.uniform<double>(columns, -3, 3);
  for (double& x : z)
    for (const double kink : kinks(activation))
      if (std::fabs(x - kink) < 0.1) x = kink + 0.1;
  const std::vector<double> g = random.uniform<double>(columns, -2, 2);
  const auto loss = [&](const std::vector<double>& at) {
    std::vector<double> a(at.size());
    nncore::activation_forward<double>(activation, {at.data(), 1, columns}, {a.data(), 1, columns});
    long double sum = 0;
    for (std::size_t i = 0; i < a.size(); ++i)
      sum += static_cast<long double>(g[i]) * static_cast<long double>(a[i]);
    return sum;
  };
  std::vector<double> a(z.size()), gradient(z.size());
  nncore::activation_forward<double>(activation, {z.data(), 1, columns}, {a.data(), 1, columns});
  nncore::activation_backward<double>(activation, {g.data(), 1, columns},
                                      {kept(activation, z, a).data(), 1, columns},
                                      {gradient.data(), 1, columns});
  long double g_size = 0, a_size = 1;
  for (std::size_t i = 0; i < g.size(); ++i) {
    g_size += std::fabs(static_cast<long double>(g[i]));
    a_size = std::max(a_size, std::fabs(static_cast<long double>(a[i])));
  }
  // Derivatives of orders 3 to 5 are at most 20; values are 20 roundings off.
  constexpr long double h = 0x1p-17;
  const long double tolerance = g_size * (20 * h * h / 6 + 20 * kEpsilon<double> * a_size / h);
  for (std::size_t i = 0; i < z.size(); ++i) {
    std::vector<double> above = z, below = z;
    above[i] += static_cast<double>(h);
    below[i] -= static_cast<double>(h);
    check_close(gradient[i], (loss(above) - loss(below)) / (2 * h), tolerance, text(activation));
  }
}

/// Everything that activations return for one large and one ragged matrix.
template <class T>
std::vector<T> all_results() {
  std::vector<T> results;
  for (const Activation& activation : all_activations()) {
    for (const std::int64_t columns : {3, 37, 700}) {
      const std::int64_t rows = 40'000 / columns;
      Random random(3);
      const std::vector<T> z = random.uniform<T>(rows * columns, -8, 8),
                           g = random.uniform<T>(rows * columns, -2, 2);
      std::vector<T> a(z.size()), gradient(z);
      nncore::activation_forward<T>(activation, {z.data(), rows, columns}, {a.data(), rows, columns});
      nncore::activation_backward<T>(activation, {g.data(), rows, columns},
                                     {kept(activation, z, a).data(), rows, columns},
                                     {gradient.data(), rows, columns}, true);
      results.insert(results.end(), a.begin(), a.end());
      results.insert(results.end(), gradient.begin(), gradient.end());
    }
  }
  return results;
}

template <class T>
std::vector<T> forward(const Activation& activation, std::vector<T> row) {
  const auto columns = static_cast<std::int64_t>(row.size());
  nncore::activation_forward<T>(activation, {row.data(), 1, columns}, {row.data(), 1, columns});
  return row;
}

template <class T>
void check_nan_everywhere(std::int64_t columns) {
  for (const Activation& activation : all_activations()) {
    for (std::int64_t at = 0; at < columns; ++at) {
      std::vector<T> z(static_cast<std::size_t>(columns), T(0.25));
      z[static_cast<std::size_t>(at)] = kNan<T>;
      const std::vector<T> a = forward(activation, z);
      std::vector<T> g(z.size(), T(1)), gradient(z.size());
      nncore::activation_backward<T>(activation, {g.data(), 1, columns},
                                     {kept(activation, z, a).data(), 1, columns},
                                     {gradient.data(), 1, columns});
      for (std::size_t i = 0; i < z.size(); ++i) {
        const bool expect_nan = i == static_cast<std::size_t>(at) || !is_elementwise(activation);
        CHECK(std::isnan(a[i]) == expect_nan);
        CHECK(std::isnan(gradient[i]) == (expect_nan && activation.kind != ActivationKind::identity));
      }
    }
  }
}

template <class T>
void check_infinities() {
  const T inf = kInfinity<T>;
  const std::vector<T> both{-inf, inf};
  CHECK((forward(ActivationKind::identity, both) == both));
  CHECK((forward(ActivationKind::sigmoid, both) == std::vector<T>{0, 1}));
  CHECK((forward(ActivationKind::tanh, both) == std::vector<T>{-1, 1}));
  CHECK((forward(ActivationKind::relu, both) == std::vector<T>{0, inf}));
  CHECK((forward(ActivationKind::softmax, std::vector<T>{1, -inf, 1}) == std::vector<T>{T(0.5), 0, T(0.5)}));
  CHECK((forward(ActivationKind::softmax, std::vector<T>{1, inf, -3}) == std::vector<T>{0, 1, 0}));
  CHECK((forward(ActivationKind::softmax, std::vector<T>{-inf, -inf}) == std::vector<T>{T(0.5), T(0.5)}));
  CHECK(forward(ActivationKind::log_softmax, std::vector<T>{1, -inf, 1})[1] == -inf);
  CHECK((forward(ActivationKind::log_softmax, std::vector<T>{1, inf}) == std::vector<T>{-inf, 0}));
  for (const Activation& activation : all_activations()) {  // no NaN: they grow or reach a limit
    if (!is_elementwise(activation)) continue;
    const std::vector<T> a = forward(activation, both),
                         far = forward(activation, std::vector<T>{T(-1e5), T(1e5)});
    for (std::size_t i = 0; i < 2; ++i) {
      CHECK(a[i] == far[i] || (std::isinf(a[i]) && std::fabs(far[i]) > T(100)) ||
            std::fabs(a[i] - far[i]) < T(2e-5));  // softsign differs by 1 / (1 + 1e5)
      std::vector<T> z{both[i]}, g{T(1)}, value{a[i]}, gradient(1);
      nncore::activation_backward<T>(activation, {g.data(), 1, 1}, {kept(activation, z, value).data(), 1, 1},
                                     {gradient.data(), 1, 1});
      CHECK(std::isfinite(gradient[0]));
    }
  }
  const T huge = std::numeric_limits<T>::max();
  CHECK((forward(ActivationKind::softmax, std::vector<T>{huge, -huge}) == std::vector<T>{1, 0}));
}

}  // namespace

TEST(forward_follows_the_formulas) {
  on_every_set([] {
    for (const ActivationKind activation : kWithFormula) {
      for (const std::int64_t columns : kSizes) {
        check_forward<float>(activation, columns);
        check_forward<double>(activation, columns);
      }
    }
  });
}

TEST(backward_follows_the_whole_jacobian) {
  on_every_set([] {
    for (const ActivationKind activation : kWithFormula) {
      for (const std::int64_t columns : kSizes) {
        for (const bool accumulate : {false, true}) {
          check_backward<float>(activation, columns, accumulate);
          check_backward<double>(activation, columns, accumulate);
        }
      }
    }
  });
}

TEST(backward_agrees_with_central_differences) {
  on_every_set([] {
    for (const Activation& activation : all_activations())
      for (const std::int64_t columns : {2, 3, 10, 17, 33}) check_central_differences(activation, columns);
  });
}

TEST(every_set_and_thread_count_gives_the_same_bits) {
  check_same_bits(all_results<float>);
  check_same_bits(all_results<double>);
}

TEST(nan_gives_nan) {
  on_every_set([] {
    for (const std::int64_t columns : {1, 2, 5, 16, 33}) {
      check_nan_everywhere<float>(columns);
      check_nan_everywhere<double>(columns);
    }
  });
}

TEST(infinities_give_the_limit) {
  on_every_set([] {
    check_infinities<float>();
    check_infinities<double>();
  });
}

TEST(relu_has_slope_0_at_0) {
  on_every_set([] {
    const double g[] = {1, 1, 1}, a[] = {0.0, -0.0, 2.0};
    double gradient[3];
    nncore::activation_backward<double>(ActivationKind::relu, {g, 1, 3}, {a, 1, 3}, {gradient, 1, 3});
    CHECK(gradient[0] == 0 && gradient[1] == 0 && gradient[2] == 1);
  });
}

TEST(rows_with_gaps_and_in_place_give_what_rows_alone_give) {
  constexpr std::int64_t rows = 3, columns = 19, stride = 24;
  on_every_set([] {
    for (const Activation& activation : all_activations()) {
      Random random(6);
      const std::vector<double> z = random.uniform<double>(rows * stride, -3, 3);
      const std::vector<double> g = random.uniform<double>(rows * stride, -3, 3);
      std::vector<double> a = z, gradient = g;
      nncore::activation_forward<double>(activation, {a.data(), rows, columns, stride},
                                         {a.data(), rows, columns, stride});
      nncore::activation_backward<double>(activation, {gradient.data(), rows, columns, stride},
                                          {kept(activation, z, a).data(), rows, columns, stride},
                                          {gradient.data(), rows, columns, stride});
      for (std::int64_t row = 0; row < rows; ++row) {
        std::vector<double> alone(columns), alone_gradient(columns);
        nncore::activation_forward<double>(activation, {z.data() + row * stride, 1, columns},
                                           {alone.data(), 1, columns});
        const double* const from = nncore::reads_input(activation) ? z.data() + row * stride : alone.data();
        nncore::activation_backward<double>(activation, {g.data() + row * stride, 1, columns},
                                            {from, 1, columns}, {alone_gradient.data(), 1, columns});
        const auto at = row * stride;
        CHECK(std::equal(alone.begin(), alone.end(), a.begin() + at));
        CHECK(std::equal(alone_gradient.begin(), alone_gradient.end(), gradient.begin() + at));
        CHECK(std::equal(z.begin() + at + columns, z.begin() + at + stride, a.begin() + at + columns));
        CHECK(std::equal(g.begin() + at + columns, g.begin() + at + stride, gradient.begin() + at + columns));
      }
    }
  });
}

TEST(a_long_row_may_begin_anywhere) {
  constexpr std::int64_t count = 5000, most = 17;
  Random random(7);
  const std::vector<float> z = random.uniform<float>(count, -3, 3), g = random.uniform<float>(count, -3, 3);
  on_every_set([&] {
    for (const Activation& activation : all_activations()) {
      if (!is_elementwise(activation)) continue;
      std::vector<float> piecewise(count), piecewise_gradient(count);
      for (std::int64_t i = 0; i < count; i += 10) {
        nncore::activation_forward<float>(activation, {&z[i], 1, 10}, {&piecewise[i], 1, 10});
        const float* const from = nncore::reads_input(activation) ? &z[i] : &piecewise[i];
        nncore::activation_backward<float>(activation, {&g[i], 1, 10}, {from, 1, 10},
                                           {&piecewise_gradient[i], 1, 10});
      }
      for (std::int64_t offset = 0; offset < most; ++offset) {
        std::vector<float> a(count + most + 1, -7), gradient = a;
        nncore::activation_forward<float>(activation, {z.data(), 1, count}, {&a[offset], 1, count});
        const float* const from = nncore::reads_input(activation) ? z.data() : &a[offset];
        nncore::activation_backward<float>(activation, {g.data(), 1, count}, {from, 1, count},
                                           {&gradient[offset], 1, count});
        CHECK(std::equal(piecewise.begin(), piecewise.end(), a.begin() + offset));
        CHECK(std::equal(piecewise_gradient.begin(), piecewise_gradient.end(), gradient.begin() + offset));
        for (const auto& written : {a, gradient}) {
          CHECK(std::count(written.begin(), written.begin() + offset, -7) == offset);
          CHECK(std::count(written.begin() + offset + count, written.end(), -7) == most + 1 - offset);
        }
      }
    }
  });
}

TEST(empty_matrices_are_no_error) {
  for (const Activation& activation : all_activations()) {
    for (const auto& [rows, columns] : {std::pair{0, 3}, {3, 0}, {0, 0}}) {
      nncore::activation_forward<float>(activation, {nullptr, rows, columns}, {nullptr, rows, columns});
      nncore::activation_backward<float>(activation, {nullptr, rows, columns}, {nullptr, rows, columns},
                                         {nullptr, rows, columns});
    }
  }
}

TEST(shapes_that_differ_are_named) {
  double data[12] = {}, out[12] = {9};
  const Activation relu = ActivationKind::relu;
  const Matrix<const double> in(data, 3, 4);
  CHECK_THROWS(nncore::activation_forward<double>(relu, in, {out, 4, 3}), std::invalid_argument,
               "output must have shape (3, 4), the shape of input; got (4, 3)");
  CHECK_THROWS(nncore::activation_forward<double>(relu, {data, 3, 2, 4, 2}, {out, 3, 2}),
               std::invalid_argument, "input must have contiguous rows; got columns 2 elements apart");
  CHECK_THROWS(nncore::activation_forward<double>(relu, in, {nullptr, 3, 4}), std::invalid_argument,
               "output must be a matrix of shape (3, 4); got none");
  CHECK_THROWS(nncore::activation_backward<double>(relu, {data, 2, 4}, in, {out, 3, 4}),
               std::invalid_argument, "grad_output must have shape");
  CHECK_THROWS(nncore::activation_backward<double>(relu, in, in, {out, 3, 3}), std::invalid_argument,
               "grad_input must have shape");
  CHECK(out[0] == 9);
}

TEST(parameters_and_orders_are_checked) {
  Activation leaky = ActivationKind::leaky_relu;
  CHECK(leaky.negative_slope == 0.01);
  leaky.negative_slope = -1.0;
  CHECK_THROWS(nncore::validate(leaky), std::invalid_argument,
               "negative_slope must be a finite number of at least 0; got -1");
  Activation relu = ActivationKind::relu;
  relu.order = 1;
  CHECK_THROWS(nncore::validate(relu), std::invalid_argument,
               "order must be at least 0 and less than 1 for relu");
}

TEST(a_derivative_is_kept_where_the_value_is_computed) {
  constexpr std::int64_t rows = 5, columns = 37;
  on_every_set([] {
    for (const Activation& activation : all_activations()) {
      if (!nncore::reads_input(activation)) continue;
      Random random(8);
      const std::vector<float> z = random.uniform<float>(rows * columns, -6, 6);
      std::vector<float> a(z.size()), alone(z.size()), derivative(z.size()), ones(z.size(), 1.0F),
          gradient(z.size());
      nncore::kernels::active<float>().activation_forward[static_cast<int>(activation.kind)](
          {&activation,
           {z.data(), columns},
           {a.data(), columns},
           rows,
           columns,
           {derivative.data(), columns}});
      nncore::activation_forward<float>(activation, {z.data(), rows, columns}, {alone.data(), rows, columns});
      nncore::activation_backward<float>(activation, {ones.data(), rows, columns}, {z.data(), rows, columns},
                                         {gradient.data(), rows, columns});
      CHECK(a == alone && derivative == gradient);
    }
  });
}
